"""The scikit-learn estimator: scikit-learn's own checks, its laws, and classes that the calibration rows lack."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_wine
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from reclaim.bridges.sklearn import CalibratedClassifier
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names

FITTED = sorted(set(names("calibrators")) - {"chain", "logit-offset"})  # those that need no absent class


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Many small problems: on a busy machine, threads that wait for each other take ten times as long."""
    with threadpool_limits(1):
        yield


@parametrize_with_checks([CalibratedClassifier(cv=3), CalibratedClassifier(GaussianNB(), "isotonic", cv=2)])
def test_scikit_learn_accepts_it(estimator: CalibratedClassifier, check: Callable[[Any], None]) -> None:
    check(estimator)


def rows(n: int = 211, classes: int = 3, features: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, n)
    return random.normal(size=(n, features)) + np.eye(classes, features)[y], y


@pytest.mark.parametrize(
    ("method", "classes"), [*((method, 3) for method in FITTED), ("temperature", 2), ("isotonic", 2)]
)
def test_every_method_gives_probabilities_that_agree_with_its_decisions(method: str, classes: int) -> None:
    x, y = rows(n=101, classes=classes)
    made = CalibratedClassifier(GaussianNB(), method, cv=2).fit(x, y)
    p, z = made.predict_proba(x), made.decision_function(x)
    assert p.shape == (101, classes) and z.shape == ((101,) if classes == 2 else (101, classes))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(p), made.predict_log_proba(x))
    np.testing.assert_array_equal(made.predict(x), p.argmax(axis=1))
    np.testing.assert_array_equal(made.predict(x), z > 0 if classes == 2 else z.argmax(axis=1))


def test_it_is_the_calibrator_fitted_to_cross_validated_logits() -> None:
    x, y = rows()
    made = CalibratedClassifier(LogisticRegression(), cv=3).fit(x, y)
    held_out = cross_val_predict(LogisticRegression(), x, y, cv=3, method="decision_function")
    assert made.calibrator_.temperature == pytest.approx(
        find("calibrators", "temperature").fit(held_out, y).temperature
    )
    raw = LogisticRegression().fit(x, y).decision_function(x)
    np.testing.assert_allclose(made.decision_function(x), raw / made.calibrator_.temperature)


def test_of_two_classes_the_decision_function_is_divided_by_the_temperature() -> None:
    x, y = rows(classes=2)
    made = CalibratedClassifier(LogisticRegression(), cv=3).fit(x, y)
    expected = LogisticRegression().fit(x, y).decision_function(x) / made.calibrator_.temperature
    np.testing.assert_allclose(made.decision_function(x), expected)


def test_scores_and_the_logarithm_of_probabilities_calibrate_alike() -> None:
    class Probabilities(LogisticRegression):
        decision_function = property()

        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return np.asarray(softmax(X @ self.coef_.T + self.intercept_, axis=1))

        def predict(self, X: np.ndarray) -> np.ndarray:
            return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    x, y = rows()
    ours, theirs = (CalibratedClassifier(e, cv=3).fit(x, y) for e in (LogisticRegression(), Probabilities()))
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), rtol=1e-6)


def test_an_overconfident_model_becomes_honest_and_zeros_do_no_harm() -> None:
    x, y = rows(n=400)
    tree = DecisionTreeClassifier(min_samples_leaf=4, random_state=0).fit(x[:100], y[:100])
    assert (tree.predict_proba(x) == 0).any()
    made = CalibratedClassifier(FrozenEstimator(tree), "isotonic").fit(x[100:250], y[100:250])
    assert np.isfinite(made.predict_log_proba(x)).all()
    assert log_loss(y[250:], made.predict_proba(x[250:])) < log_loss(y[250:], tree.predict_proba(x[250:]))


@pytest.mark.parametrize("labels", [np.array(["cat", "dog", "eel"]), np.array([7, -2, 3]), np.array([2.0, 0.0, 1.0])])
def test_labels_are_only_names(labels: np.ndarray) -> None:
    x, y = rows()
    made = CalibratedClassifier(cv=3).fit(x, labels[y])
    plain = CalibratedClassifier(cv=3).fit(x, y)
    np.testing.assert_array_equal(made.classes_, np.sort(labels))
    np.testing.assert_array_equal(made.predict(x), labels[plain.predict(x)])
    np.testing.assert_allclose(made.predict_proba(x)[:, labels.argsort().argsort()], plain.predict_proba(x), rtol=1e-4)


def test_class_weights_by_label_reach_every_fold() -> None:
    x, y = rows()
    labels = np.array(["cat", "dog", "eel"])[y]
    weighted = LogisticRegression(class_weight={"cat": 5, "dog": 1, "eel": 1})
    assert np.mean(CalibratedClassifier(weighted, cv=3).fit(x, labels).predict(x) == "cat") > np.mean(labels == "cat")


SEEN = [0, 2, 3, 5, 8]


def ten_digits(
    estimator: Any, rows: int = 800
) -> tuple[Any, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A classifier trained on ten digits, held-out rows of five of them, and other rows of all."""
    x, y = load_digits(return_X_y=True)
    held_out = np.isin(y, SEEN) & (np.arange(len(y)) >= 800) & (np.arange(len(y)) < 1300)
    model = FrozenEstimator(estimator.fit(x[:rows] / 16, y[:rows]))
    return model, (x[held_out] / 16, y[held_out]), (x[1300:] / 16, y[1300:])


@pytest.mark.parametrize("method", ["temperature", "isotonic", "histogram"])
@pytest.mark.parametrize("estimator", [LogisticRegression(max_iter=300), RidgeClassifier(), GaussianNB()])
def test_classes_that_the_calibration_rows_lack_keep_their_predictions(method: str, estimator: Any) -> None:
    model, held_out, (x, y) = ten_digits(estimator)
    made = CalibratedClassifier(model, method, seen=SEEN).fit(*held_out)
    before, after, absent = model.predict(x), made.predict(x), ~np.isin(y, SEEN)
    np.testing.assert_array_equal(np.isin(before, SEEN), np.isin(after, SEEN))
    np.testing.assert_array_equal(before[~np.isin(before, SEEN)], after[~np.isin(before, SEEN)])
    assert np.mean(after[absent] == y[absent]) == np.mean(before[absent] == y[absent]) > 0.7
    assert made.estimator_ is model and made.n_features_in_ == 64


def test_where_every_class_has_its_own_line_absent_accuracy_hardly_falls() -> None:
    model, held_out, (x, y) = ten_digits(LogisticRegression(max_iter=300))
    made = CalibratedClassifier(model, "vector", seen=SEEN).fit(*held_out)
    absent = ~np.isin(y, SEEN)
    assert made.score(x[absent], y[absent]) > model.score(x[absent], y[absent]) - 0.02


def test_with_absent_classes_the_seen_ones_become_honest() -> None:
    model, held_out, (x, y) = ten_digits(LogisticRegression(C=1e4, max_iter=300), rows=400)
    made, seen = CalibratedClassifier(model, seen=SEEN).fit(*held_out), np.isin(y, SEEN)
    assert made.calibrator_.temperature > 1
    before, after = (log_loss(y[seen], p(x[seen]), labels=range(10)) for p in (model.predict_proba, made.predict_proba))
    assert after < before


def test_the_methods_numbers_reach_it() -> None:
    x, y = rows()
    made = CalibratedClassifier(method="vector", cv=3, numbers={"ridge": 0.0}).fit(x, y)
    assert made.calibrator_.fitted.details["ridge"] == 0.0


def test_the_calibrator_can_be_saved_with_the_names_of_its_classes(tmp_path: Any) -> None:
    x, y = rows()
    made = CalibratedClassifier(cv=3).fit(x, np.array(["cat", "dog", "eel"])[y])
    save_calibrator(tmp_path / "temperature.json", made.calibrator_)
    assert load_calibrator(tmp_path / "temperature.json").fitted.classes == ("cat", "dog", "eel")


def test_what_the_classifier_takes_it_takes() -> None:
    x, y = rows()
    dense, sparse = (CalibratedClassifier(cv=3).fit(x_, y).predict_proba(x_) for x_ in (x, csr_array(x)))
    np.testing.assert_allclose(dense, sparse, rtol=1e-4)
    texts, truth = ["red wine", "blue sea", "red rose", "blue sky"] * 5, [0, 1] * 10
    model = make_pipeline(CountVectorizer(), LogisticRegression())
    assert CalibratedClassifier(model, cv=2).fit(texts, truth).predict(["red", "blue"]).tolist() == [0, 1]
    kernel = CalibratedClassifier(SVC(kernel="precomputed"), cv=3).fit(x @ x.T, y)
    np.testing.assert_allclose(
        kernel.predict_proba(x @ x.T), CalibratedClassifier(SVC(kernel="linear"), cv=3).fit(x, y).predict_proba(x)
    )


def test_it_works_inside_other_estimators() -> None:
    x, y = rows()
    assert cross_val_score(CalibratedClassifier(cv=2), x, y, cv=2, scoring="neg_log_loss").min() > -np.log(3)


def refused(words: str, y: Any = None, x: Any = None, **given: Any) -> None:
    made = rows()
    with pytest.raises(BadInput, match=words):
        CalibratedClassifier(**given).fit(made[0] if x is None else x, made[1] if y is None else y)


def test_what_cannot_be_used_is_refused_in_words_that_fit() -> None:
    x, y = rows()
    frozen = FrozenEstimator(LogisticRegression().fit(x, np.array(["cat", "dog", "eel"])[y]))
    two, both = np.array(["cat", "dog"])[y % 2], ["cat", "dog"]
    refused(r"misses 1 of the estimator's 3 classes: eel\.\n.*\n.*`seen`, their labels", two, estimator=frozen)
    refused(r"rows are of classes that `seen` leaves out: dog\.", two, estimator=frozen, seen=["cat", "eel"])
    refused(r"`seen` names classes that .* not know: cow", two, estimator=frozen, seen=[*both, "cow"])
    refused(r"y holds classes that .* not know: cow", np.array(["cat", "cow"])[y % 2], estimator=frozen, seen=both)
    refused(r"not one bool per class", seen=[True, True, False])
    refused(r"only 1 class is seen", np.array(["cat"] * len(y)), estimator=frozen, seen=["cat"])
    refused(r"Did you mean 'temperature'", method="temprature")
    refused(r"'chain' joins calibrators .* those that are: beta, ", method="chain")
    refused(r"'vector' has no number called rigde; it has: ridge\.", method="vector", numbers={"rigde": 1})
    trained, few = FrozenEstimator(LogisticRegression().fit(x, y)), [0, 1, 2, 0, 1]
    refused(r"the safer method here is temperature", method="vector", x=x[:5], y=few, estimator=trained)
    refused(r"fold 1 of 3 has no rows to train on of 0\.\n", y=np.sort(y), cv=KFold(3))
    refused(r"SVC gives no score per class", estimator=SVC(decision_function_shape="ovo"))


def test_scores_of_pairs_of_classes_are_not_taken_for_scores_of_classes() -> None:
    x, y = rows()
    by_pairs = SVC(decision_function_shape="ovo").fit(x, y)
    assert by_pairs.decision_function(x).shape == (211, 3)
    with pytest.raises(BadInput, match="gives no score per class"):
        CalibratedClassifier(FrozenEstimator(by_pairs)).fit(x, y)


def test_any_splitter_will_do() -> None:
    x, y = rows()
    made = CalibratedClassifier(Perceptron(), cv=[(np.arange(100), np.arange(100, 211))]).fit(x, y)
    one = CalibratedClassifier(FrozenEstimator(Perceptron().fit(x[:100], y[:100]))).fit(x[100:], y[100:])
    assert made.calibrator_.temperature == pytest.approx(one.calibrator_.temperature)


def test_groups_are_never_parted_by_its_folds() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300] % 3
    groups = np.arange(300) // 5
    trained: list[set[int]] = []

    class Spy(GaussianNB):
        def fit(self, X: Any, y: Any) -> Any:
            trained.append(set(X[:, 0].astype(int).tolist()))  # the first feature is the group here
            return super().fit(X, y)

    X[:, 0] = groups
    made = CalibratedClassifier(Spy(), cv=4).fit(X, y, groups)
    folds = trained[1:]  # the first is the fit to all rows
    assert len(folds) == 4 and all(60 / 2 < len(fold) < 60 for fold in folds)
    assert all(sum(group not in fold for fold in folds) == 1 for group in range(60))
    named = CalibratedClassifier(GaussianNB(), cv=4).fit(X, y, np.array([f"p{i:02}" for i in groups]))
    plain = CalibratedClassifier(GaussianNB(), cv=4).fit(X, y)
    np.testing.assert_array_equal(made.predict_proba(X), named.predict_proba(X))
    assert not np.array_equal(made.predict_proba(X), plain.predict_proba(X))
    assert CalibratedClassifier(GaussianNB(), cv=GroupKFold(3)).fit(X, y, groups).calibrator_
    pairs = list(KFold(3, shuffle=True, random_state=0).split(X))
    with pytest.raises(BadInput, match="fold 1 of 3 parts groups"):
        CalibratedClassifier(GaussianNB(), cv=pairs).fit(X, y, groups)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model,
        lambda model: make_pipeline(StandardScaler(), model),
        lambda model: make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), model)),
        lambda model: GridSearchCV(make_pipeline(StandardScaler(), model), {"svc__C": [1.0, 2.0]}, cv=2),
        lambda model: make_pipeline(StandardScaler(), CalibratedClassifier(model, cv=2)),
    ],
    ids=["bare", "pipeline", "nested", "search", "own"],
)
def test_scores_of_pairs_are_refused_at_any_depth_and_scores_per_class_taken(wrap) -> None:
    x, y = load_wine(return_X_y=True)
    with pytest.raises(BadInput, match="gives no score per class"):
        CalibratedClassifier(wrap(SVC(decision_function_shape="ovo")), cv=2).fit(x, y)
    made = CalibratedClassifier(wrap(SVC()), cv=2).fit(x, y)
    assert made.score(x, y) == pytest.approx(clone(wrap(SVC())).fit(x, y).score(x, y), abs=0.02)
    assert made.scores_ == "decision_function"


def test_a_pipeline_of_pairs_that_has_probabilities_is_read_by_them() -> None:
    x, y = load_wine(return_X_y=True)
    inner = make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(decision_function_shape="ovo"), cv=2))
    made = CalibratedClassifier(inner, cv=2).fit(x, y)
    assert made.scores_ == "predict_proba" and made.score(x, y) > 0.95


class Told(LogisticRegression):
    """A classifier whose only scores are what `told` makes of its probabilities."""

    decision_function = property()  # type: ignore[assignment]

    def predict_proba(self, X: Any) -> Any:
        z = X @ self.coef_.T + self.intercept_
        return self.told(softmax(z, axis=1), z)

    def predict(self, X: Any) -> Any:
        return self.classes_[(X @ self.coef_.T + self.intercept_).argmax(axis=1)]


@pytest.mark.parametrize(
    "told",
    [lambda p, z: z, lambda p, z: 100 * p, lambda p, z: np.where(z > 9, p, np.nan)],
    ids=["scores", "per cent", "not a number"],
)
def test_what_is_no_probability_is_refused(told: Callable[[Any, Any], Any]) -> None:
    model = Told()
    Told.told = staticmethod(told)  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="predict_proba gives no probabilities: in row"):
        CalibratedClassifier(model).fit(*rows())


def test_probabilities_of_other_classes_than_are_predicted_are_said(caplog: pytest.LogCaptureFixture) -> None:
    Told.told = staticmethod(lambda p, z: p)  # type: ignore[attr-defined]
    CalibratedClassifier(Told()).fit(*rows())
    assert not caplog.messages
    Told.told = staticmethod(lambda p, z: p[:, [1, 2, 0]])  # type: ignore[attr-defined]
    CalibratedClassifier(Told()).fit(*rows())
    assert "predicts the class of its largest probability on" in caplog.text
