"""The one door for logits, labels and seen classes: what a matrix is, and types that torch half supports."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reclaim.bridges.sklearn import CalibratedClassifier
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.core.arrays import as_tensor
from reclaim.core.checks import as_labels, check_logits, holds_probabilities
from reclaim.core.errors import BadInput, BadKind
from reclaim.data.given import seen_names
from reclaim.report.diagnose import diagnose
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.metrics.confidence import confidence
from reclaim.snapshots.snapshot import Snapshot, seen_mask
from tests import toys

TYPES = (np.float16, np.float32, np.float64)


def softmax(z: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    e = np.exp((z - z.max(axis=1, keepdims=True)) / temperature)
    return e / e.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(2, 40), st.integers(0, 2**32 - 1), st.sampled_from(TYPES), st.floats(0.02, 9))
def test_softmax_outputs_are_told_whatever_their_number_type_and_sharpness(n, c, seed, kind, temperature) -> None:
    p = softmax(np.random.default_rng(seed).normal(size=(n, c)), temperature).astype(kind)
    assert holds_probabilities(torch.from_numpy(p))
    assert n < 8 or holds_probabilities(torch.from_numpy(100 * p.astype(np.float32)))  # in per cent
    with np.errstate(divide="ignore"):
        logs = np.log(p.astype(np.float64)).clip(-1e4)
    check_logits(torch.from_numpy(logs))  # their logarithms are logits


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(2, 40), st.integers(0, 2**32 - 1), st.sampled_from(TYPES), st.floats(0.1, 30))
def test_logits_are_never_taken_for_probabilities(n, c, seed, kind, scale) -> None:
    z = np.random.default_rng(seed).normal(size=(n, c)) * scale
    for made in (z, np.maximum(z, 0), np.abs(z) + 2, 1 / (1 + np.exp(-z)) if c > 2 and n > 7 else z):
        check_logits(torch.from_numpy(made.astype(kind)))


def test_rows_of_zeros_between_probabilities_and_logits_after_the_first_hundred_rows_do_not_hide_them() -> None:
    p = softmax(np.random.default_rng(0).normal(size=(400, 5)))
    p[::3] = 0
    assert holds_probabilities(torch.from_numpy(p))
    late = np.concatenate(
        [np.random.default_rng(1).normal(size=(100, 5)), softmax(np.random.default_rng(2).normal(size=(900, 5)))]
    )
    assert holds_probabilities(torch.from_numpy(late))
    assert holds_probabilities(torch.eye(6)[torch.arange(60) % 6])  # of a network that is sure of every row
    rest = np.concatenate(
        [softmax(np.random.default_rng(3).normal(size=(100, 5))), np.random.default_rng(4).normal(size=(900, 5))]
    )
    check_logits(torch.from_numpy(rest))  # the first hundred tell nothing of nine hundred more


@pytest.mark.parametrize("z", [torch.zeros(9, 4), torch.ones(9, 1), torch.zeros(0, 4), torch.tensor([[0.0, 2.5, 0.0]])])
def test_what_says_nothing_is_taken_for_logits(z: torch.Tensor) -> None:
    check_logits(z)


P = softmax(np.random.default_rng(5).normal(size=(90, 4))).astype(np.float32)
Y, SEEN = np.arange(90) % 4, np.array([True, True, False, False])


@pytest.mark.parametrize(
    "way",
    [
        lambda: Snapshot(torch.from_numpy(P), torch.from_numpy(Y), torch.from_numpy(SEEN)),
        lambda: accuracy(P, Y, SEEN),
        lambda: confidence(P, Y),
        lambda: Temperature.fit(P[Y < 2], Y[Y < 2], SEEN),
        lambda: LogitOffset.fit(P, Y, SEEN),
        lambda: Temperature(2.0, Temperature.fit(*toys.logits(c=4)[:2]).fitted)(P),
        lambda: LogitOffset.fit(*toys.logits(c=4))(P),
    ],
    ids=["snapshot", "accuracy", "confidence", "fit", "selector", "temperature", "offset"],
)
def test_every_way_in_refuses_probabilities(way) -> None:
    with pytest.raises(BadInput, match="these logits are probabilities"):
        way()


@pytest.mark.parametrize(
    "kind", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", ">u2", ">i4"]
)
def test_labels_of_any_whole_type_are_the_same_labels(kind: str) -> None:
    labels = np.array([3, 0, 2], dtype=kind)
    assert as_tensor(labels).tolist() == [3, 0, 2]
    assert accuracy(np.eye(4)[[3, 0, 1]] * 5.5, labels, np.ones(4, bool)).all == pytest.approx(2 / 3)


def test_types_that_torch_has_by_name_only_become_ones_it_can_work_with() -> None:
    for kind in (torch.uint16, torch.uint32, torch.uint64):
        made = as_tensor(torch.tensor([1, 2]).to(kind))
        assert made.dtype == torch.int64 and made.tolist() == [1, 2]
    assert as_tensor(torch.tensor([1.5, -2.0]).to(torch.float8_e4m3fn)).tolist() == [1.5, -2.0]
    assert as_tensor(np.array([1.5], dtype=np.longdouble)).tolist() == [1.5]
    with pytest.raises(BadInput, match=r"below 2\^63; given: 18446744073709551615"):
        as_tensor(np.array([2**64 - 1], dtype=np.uint64))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.eye(2).to_sparse(), "is sparse"),
        (torch.empty(2, device="meta"), "has no values"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "its type is datetime64"),
        (object(), "got object"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_with_its_kind(given: object, message: str) -> None:
    with pytest.raises(BadKind, match=message):
        as_tensor(given)


def test_labels_may_be_names_of_classes() -> None:
    seen, names = torch.tensor([True, True, False]), ("ant", "bee", "cat")
    given: Any = np.array(["cat", "ant", "cat"])
    rows = Snapshot(torch.randn(3, 3) - 1, given, seen, classes=names)
    assert rows.known_labels.tolist() == [2, 0, 2]
    assert as_labels(np.array([b"bee"]), ("ant", "bee")).tolist() == [1]
    with pytest.raises(BadInput, match="none of the 2 classes: Cat; the classes are: ant, cat") as refused:
        as_labels(["Cat"], ("ant", "cat"))
    assert "'Cat' and 'cat' (upper and lower case)" in str(refused.value)
    with pytest.raises(BadInput, match=r"labels are names \(ant, bee\), and the classes are not named"):
        Snapshot(torch.zeros(2, 2), ["bee", "ant"], torch.tensor([True, False]))  # type: ignore[arg-type]


@pytest.mark.parametrize("numbers", [[1, 0], [0, 1]])
def test_one_number_for_each_of_two_classes_may_be_a_mask_or_indices_and_is_refused(numbers: list[int]) -> None:
    with pytest.raises(BadInput, match="are these their indices, or is it one number per class"):
        seen_mask(numbers, 2)
    with pytest.raises(BadInput, match="are these their indices"):
        seen_names(numbers, ("ant", "bee"))
    assert seen_mask([1], 2).tolist() == [False, True] and seen_mask(numbers, 3).tolist() == [True, True, False]
    assert seen_names([False, True], ("ant", "bee")) == ("bee",)


def test_fractions_are_no_indices_of_seen_classes() -> None:
    with pytest.raises(BadKind, match="whole numbers or one bool per class"):
        seen_mask(np.array([0.5, 1.5]), 4)


def test_seen_as_a_generator_serves_every_fit() -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    model = CalibratedClassifier(seen=(label for label in (0, 1, 2)))
    first = model.fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(first, model.fit(x, y).predict_proba(x))


def test_reports_see_logits_only() -> None:
    rows = toys.snapshot()
    assert evaluate(rows).n == len(rows) and diagnose(rows, rows)
