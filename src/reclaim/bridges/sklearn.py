"""The calibrators for scikit-learn people: an estimator that wraps a classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, check_cv
from sklearn.utils import assert_all_finite, column_or_1d, get_tags, indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from reclaim.bridges.scores import Scores, logits_of, scores_of
from reclaim.core.arrays import as_tensor
from reclaim.core.compat import rows_for
from reclaim.core.errors import BadInput, few
from reclaim.core.groups import members_of
from reclaim.core.registry import describe, find, names
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["CalibratedClassifier"]


class CalibratedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A classifier whose probabilities are calibrated, also where the calibration rows lack some of its classes.

    The calibrator is fitted to what the classifier says of rows it was not trained on: by cross-validation, after which
    it is trained on all rows. One that is trained already is left as it is in a `sklearn.frozen.FrozenEstimator`; then
    X and y must be held-out rows, and may lack classes if `seen` says so.

    Args:
        estimator: the classifier. Its `decision_function` gives the logits if that has a score per class, else the
            logarithm of its `predict_proba` does. None: logistic regression.
        method: the name of a calibrator, as in `reclaim list`.
        seen: the labels of the classes that y holds. The others keep their predictions; where the method moves every
            seen class by its own line, as `vector` does, most of them. None: every class.
        cv: a number of folds, a splitter, or pairs of train and test rows; unused with a FrozenEstimator.
        numbers: the method's own keyword arguments.

    Attributes:
        classes_: [C] labels.
        estimator_: the classifier, trained.
        scores_: the method of the classifier that gives the logits, "decision_function" or "predict_proba".
        calibrator_: logits [N, C] -> logits [N, C]; `reclaim.calibration.files.save_calibrator` writes it to a file.
        n_features_in_, feature_names_in_: the classifier's, if it has them.

    Source: the interface of scikit-learn's CalibratedClassifierCV with ``ensemble=False``.
    Differs: labels reach the classifier as they are in every fold, not as numbers; classes may be absent from the rows;
        scores of one against one are not used. No sample weights. Probabilities below 1e-12 count as that.
    """

    def __init__(
        self,
        estimator: Any = None,
        method: str = "temperature",
        *,
        seen: Iterable[Any] | None = None,
        cv: Any = 5,
        numbers: Mapping[str, Any] | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.seen = tuple(seen) if isinstance(seen, Iterator) else seen  # which could be read once only
        self.cv = cv
        self.numbers = numbers

    def fit(self, X: Any, y: Any, groups: Any = None) -> CalibratedClassifier:
        """Train the classifier unless it is frozen, and fit the calibrator.

        Args:
            X: [N, D], or whatever the classifier takes.
            y: [N] labels.
            groups: [N], which rows belong together (a patient, a document). They are then in one fold; `cv` as a number
                makes folds that also spread the classes.

        Raises: BadInput, a ValueError, if method, labels or folds cannot be used, or a fold parts a group.
        """
        numbers = dict(self.numbers or {})
        method = _calibrator(self.method, numbers)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        X, y, groups = indexable(X, y, groups)
        members = None if groups is None else members_of(groups)[0]
        estimator = clone(self._wrapped()).fit(X, y)
        classes = np.asarray(estimator.classes_)
        labels = _positions(y, classes)
        seen = _mask(self.seen, classes, labels)
        scores = scores_of(estimator, X)
        if isinstance(estimator, FrozenEstimator):
            logits = logits_of(estimator, X, len(classes), scores)
        else:
            logits, labels, members = self._held_out(X, y, classes, labels, members, scores)
        names = tuple(str(label) for label in classes.tolist())
        rows = Snapshot(as_tensor(logits), as_tensor(labels), as_tensor(seen), classes=names, groups=members)
        self.classes_, self.estimator_, self.calibrator_ = classes, estimator, method.fit(rows, **numbers)
        self.scores_ = scores
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Calibrated logits [N, C]; of two classes [N], the second's less the first's."""
        z = self._calibrated(X)
        return z[:, 1] - z[:, 0] if z.shape[1] == 2 else z

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """[N, C]."""
        return np.asarray(log_softmax(self._calibrated(X), axis=1))

    def predict_proba(self, X: Any) -> np.ndarray:
        """[N, C]; every row sums to one."""
        return np.asarray(softmax(self._calibrated(X), axis=1))

    def predict(self, X: Any) -> np.ndarray:
        """[N] labels: the most probable class."""
        best = self._calibrated(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    @property
    def n_features_in_(self) -> int:
        return int(self.estimator_.n_features_in_)

    @property
    def feature_names_in_(self) -> np.ndarray:
        return np.asarray(self.estimator_.feature_names_in_)

    def __sklearn_tags__(self) -> Any:
        tags, given = super().__sklearn_tags__(), get_tags(self._wrapped())
        tags.input_tags = given.input_tags
        if given.classifier_tags is not None:
            tags.classifier_tags.multi_class = given.classifier_tags.multi_class
        return tags

    def _wrapped(self) -> Any:
        return LogisticRegression() if self.estimator is None else self.estimator

    def _calibrated(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.calibrator_(logits_of(self.estimator_, X, len(self.classes_), self.scores_)))

    def _held_out(
        self, X: Any, y: Any, classes: np.ndarray, labels: np.ndarray, groups: Tensor | None, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray, Tensor | None]:
        """Logits, labels and groups of every fold's test rows, by a classifier trained on the fold's other rows."""
        counted = isinstance(self.cv, Integral) and groups is not None
        folding = StratifiedGroupKFold(self.cv) if counted else check_cv(self.cv, y, classifier=True)
        folds = list(folding.split(X, y, None if groups is None else groups.numpy()))
        for number, (train, test) in enumerate(folds, start=1):
            held = np.bincount(labels[train], minlength=len(classes)) > 0
            if not held.all():
                raise BadInput(
                    f"fold {number} of {len(folds)} has no rows to train on of {few(classes[~held].tolist())}.\n"
                    "  Every class needs at least two rows, and folds (`cv`) that spread them."
                )
            if groups is not None and torch.isin(groups[test], groups[train]).any():
                raise BadInput(
                    f"fold {number} of {len(folds)} parts groups: it judges rows of groups that it trains on.\n"
                    "  Give `cv` as a number, or a splitter that keeps groups together, such as GroupKFold."
                )
        made = []
        for train, test in folds:
            model = clone(self._wrapped())
            model.fit(*rows_for(model, X, y, train))
            made.append(logits_of(model, rows_for(model, X, y, test, train)[0], len(classes), scores))
        judged = np.concatenate([test for _, test in folds])
        return np.concatenate(made), labels[judged], None if groups is None else groups[judged]


def _calibrator(name: str, numbers: Mapping[str, Any]) -> Any:
    """The calibrator of this name, if it can be fitted with these keyword arguments."""
    method, own = find("calibrators", name), list(describe("calibrators", name).numbers)
    if "fit" not in vars(method):
        others = [other for other in names("calibrators") if other != name]
        raise BadInput(f"{name!r} joins calibrators and is not fitted itself; those that are: {', '.join(others)}.")
    if foreign := [key for key in numbers if key not in own]:
        raise BadInput(f"{name!r} has no number called {few(foreign)}; it has: {', '.join(own) or 'none'}.")
    return method


def _positions(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Labels [N] as positions in `classes`."""
    place = {label: index for index, label in enumerate(classes.tolist())}
    held, inverse = np.unique(y, return_inverse=True)
    if foreign := [label for label in held.tolist() if label not in place]:
        raise BadInput(f"y holds classes that the estimator does not know: {few(foreign)}.")
    return np.array([place[label] for label in held.tolist()], dtype=np.int64)[inverse]


def _mask(seen: Iterable[Any] | None, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The classes that the rows hold, as bool [C]."""
    held = np.bincount(labels, minlength=len(classes)) > 0
    if seen is None:
        if not held.all():
            raise BadInput(
                f"y misses {(~held).sum()} of the estimator's {len(classes)} classes: "
                f"{few(classes[~held].tolist())}.\n"
                "  A calibrator fitted to these rows would push those classes down.\n"
                "  Say which classes the rows hold: `seen`, their labels."
            )
        return held
    given = list(seen)
    if classes.dtype.kind != "b" and any(isinstance(label, bool | np.bool_) for label in given):
        raise BadInput("`seen` takes the labels of the classes that y holds, not one bool per class.")
    known = classes.tolist()
    if foreign := [label for label in given if label not in known]:
        raise BadInput(f"`seen` names classes that the estimator does not know: {few(foreign)}.")
    mask = np.array([label in given for label in known])
    if (held & ~mask).any():
        raise BadInput(
            f"{(~mask)[labels].sum()} of {len(labels)} rows are of classes that `seen` leaves out: "
            f"{few(classes[held & ~mask].tolist())}.\n"
            "  Leave those rows out, or add their classes to `seen`."
        )
    return mask
