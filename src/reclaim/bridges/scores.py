"""Logits of scikit-learn's classifiers: which of their methods gives one score per class, judged by what it gives."""

from __future__ import annotations

import logging
from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn.utils import resample

from reclaim.core.errors import BadInput

__all__ = ["Scores", "logits_of", "scores_of"]

Scores: TypeAlias = Literal["decision_function", "predict_proba"]

log = logging.getLogger(__name__)

MOST = 1000  # rows that tell what scores are
AGREEING = 0.8  # the share of rows, at least, whose predicted class has the largest score


def scores_of(model: Any, X: Any) -> Scores:
    """The method of a fitted classifier that gives a score per class: its decision function, or its probabilities.

    A score per class is largest for the class that is predicted. Scores of one class against one are not, and of three
    classes there are three pairs, so the shape does not tell. They are recognised wherever in pipelines and searches
    the classifier is that gives them.

    Raises: BadInput if neither is one.
    """
    classes = np.asarray(model.classes_)
    size = len(classes)
    if hasattr(model, "decision_function"):
        some = X if len_of(X) <= MOST else resample(X, replace=False, n_samples=MOST, random_state=0)
        made = np.asarray(model.decision_function(some))
        if size == 2 and made.size == len(made):
            return "decision_function"
        if made.shape[1:] == (size,) and (size == 2 or _per_class(made, np.asarray(model.predict(some)), classes)):
            return "decision_function"
    if not hasattr(model, "predict_proba"):
        raise BadInput(
            f"{type(model).__name__} gives no score per class: it needs a decision_function [rows, {size}] "
            "or predict_proba."
        )
    some = X if len_of(X) <= MOST else resample(X, replace=False, n_samples=MOST, random_state=0)
    own = _agreeing(np.asarray(model.predict_proba(some)), np.asarray(model.predict(some)), classes)
    if own < AGREEING:
        log.warning(
            "%s predicts the class of its largest probability on %.0f %% of rows only; its probabilities are taken as "
            "those of the classes in the order of classes_.",
            type(model).__name__,
            100 * own,
        )
    return "predict_proba"


def _agreeing(made: np.ndarray, predicted: np.ndarray, classes: np.ndarray) -> float:
    """The share of rows whose predicted class has the largest score [N, C]; 1 for another shape."""
    return float(np.mean(classes[made.argmax(axis=1)] == predicted)) if made.shape[1:] == classes.shape else 1.0


def _per_class(made: np.ndarray, predicted: np.ndarray, classes: np.ndarray) -> bool:
    """Whether scores [N, C] are largest for the classes predicted, and no better explained as those of pairs."""
    own = np.mean(classes[made.argmax(axis=1)] == predicted)
    if len(classes) != 3:
        return bool(own >= AGREEING)
    votes = np.zeros_like(made)
    for column, (first, second) in enumerate([(0, 1), (0, 2), (1, 2)]):
        votes[:, first] += made[:, column] > 0
        votes[:, second] += made[:, column] <= 0
    pairs = np.mean(classes[votes.argmax(axis=1)] == predicted)
    return bool(own >= AGREEING and own >= pairs)


def len_of(X: Any) -> int:
    """Rows of whatever a classifier takes; a sparse matrix has no length."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def logits_of(model: Any, X: Any, size: int, scores: Scores) -> np.ndarray:
    """What a fitted classifier of `size` classes says of rows, by one of its methods: [N, C]."""
    if scores == "decision_function":
        made = _floating(model.decision_function(X))
        if size == 2 and made.size == len(made):  # the log odds of the second class
            return made.reshape(-1, 1) * np.array([-0.5, 0.5], dtype=made.dtype)
        return made
    p = _floating(model.predict_proba(X))
    if p.shape[1:] != (size,):
        raise BadInput(f"predict_proba gives the shape {list(p.shape)}; the estimator has {size} classes.")
    sums = p.sum(axis=1)
    wrong = ~((p >= -1e-6).all(axis=1) & ((np.abs(sums - 1) <= 1e-2) | (sums == 0)))  # not a number is wrong too
    if wrong.any():
        row = int(wrong.argmax())
        raise BadInput(
            f"predict_proba gives no probabilities: in row {row} they sum to {sums[row]:.4g}, or one is negative.\n"
            "  A classifier that gives scores has a decision_function."
        )
    return np.asarray(np.log(np.maximum(p, 1e-12)))


def _floating(scores: Any) -> np.ndarray:
    """At least single precision."""
    array = np.asarray(scores)
    return array.astype(np.result_type(array.dtype, np.float32), copy=False)
