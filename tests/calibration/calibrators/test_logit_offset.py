"""The offset: what it adds where, and to which classes of a model."""

import numpy as np
import pytest
import torch
from torch import Tensor

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.selectors.average_logit_gap import average_logit_gap
from reclaim.calibration.selectors.retention_budget import retention_budget
from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

READS_ABSENT_ROWS = True  # it takes them, and leaves them out unread


def make(seen: Tensor) -> LogitOffset:
    return LogitOffset(2.5, Fitted(tuple(seen.tolist()), details={"budget": 0.05}), evidence={"seen": 3})


def test_it_adds_the_constant_to_absent_columns_only() -> None:
    z, _, seen = toys.logits()
    assert torch.equal(make(seen)(z), z + 2.5 * ~seen)


def test_the_fit_is_the_average_logit_gap() -> None:
    z, y, seen = toys.logits()
    expected = average_logit_gap(Evidence(seen=toys.snapshot())).offset
    assert LogitOffset.fit(z, y, seen).offset == expected
    assert LogitOffset.fit(z.numpy(), y.numpy(), seen.numpy()).offset == expected


def test_a_selection_carries_its_reason_evidence_and_guarantee() -> None:
    given = Evidence(seen=toys.snapshot(split="val", data="somewhere"))
    chosen = LogitOffset.select(given, "retention-budget", {"budget": 0.1})
    expected = retention_budget(given, budget=0.1)
    assert (chosen.offset, chosen.guarantee, chosen.reason) == (expected.offset, expected.guarantee, expected.reason)
    assert (chosen.selector, chosen.evidence, chosen.fitted.origin) == (
        "retention-budget",
        expected.evidence,
        "somewhere:val",
    )


def test_a_selector_answers_to_the_name_it_had_formerly() -> None:
    chosen = LogitOffset.select(toys.evidence(), "bolder")
    assert chosen == LogitOffset.select(toys.evidence(), "larger-of-two") and chosen.selector == "larger-of-two"


def test_over_other_classes_it_goes_by_name_and_unknown_ones_are_absent() -> None:
    offset = LogitOffset(2.0, Fitted((True, False, True), ("a", "b", "c")))
    assert offset.affine(("c", "x", "b", "a")).shift.tolist() == [0.0, 2.0, 2.0, 0.0]
    with pytest.raises(BadInput, match="not all among the model's: c"):
        offset.affine(("a", "b"))


def test_logits_of_another_width_are_refused() -> None:
    with pytest.raises(BadInput, match="for 3 classes; the logits have 4 columns"):
        LogitOffset(1.0, Fitted((True, False, True)))(np.zeros((2, 4)))


def test_shifts_of_single_classes_follow_the_names() -> None:
    made = LogitOffset(2.0, Fitted((True, False, True), ("a", "b", "c")), shifts=(0.5, 0.0, -0.5))
    z = torch.zeros(1, 3)
    assert made(z).tolist() == [[0.5, 2.0, -0.5]]
    assert made.affine(("c", "d", "a", "b")).shift.tolist() == [-0.5, 2.0, 0.5, 2.0]


def test_what_is_selected_is_told_whole() -> None:
    given = Evidence(seen=toys.snapshot(split="val", data="somewhere", classes=tuple("abcdefg"), model_identity="m"))
    shifts = torch.tensor([0.5, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0])
    made, expected = LogitOffset.select(given, "retention-budget", shifts=shifts), retention_budget(given)
    rows = given.need("seen", "test")
    fitted = Fitted(
        tuple(rows.seen.tolist()), tuple("abcdefg"), "somewhere:val", expected.details, "m", rows.identities()
    )
    assert made == LogitOffset(
        expected.offset, fitted, (0.5, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0), "retention-budget", expected.reason,
        expected.evidence, expected.guarantee,
    )  # fmt: skip
    assert rows.identities() and expected.details and expected.guarantee and expected.reason
    assert LogitOffset.select(given, "retention-budget").shifts == ()
    assert LogitOffset.select(given) == LogitOffset.select(given, "auto") != made
    bare = LogitOffset(1.0, fitted)
    assert (bare.shifts, bare.selector, bare.reason, bare.evidence, bare.guarantee) == ((), "", "", {}, None)


def test_the_rows_that_chose_are_those_whose_origin_is_told() -> None:
    seen, other = toys.snapshot(split="val", data="here"), toys.snapshot(seed=3, split="target", data="there")
    made = LogitOffset.select(Evidence(seen=seen, labelled=other), "labelled")
    assert made.fitted.origin == "there:target" and made.fitted.row_identities == other.identities()


def test_the_fit_leaves_rows_of_absent_classes_unread() -> None:
    given = toys.snapshot(split="val", data="d")
    own = given.seen_rows()
    assert LogitOffset.fit(given) == LogitOffset.fit(Snapshot(own.logits, own.labels, own.seen, split="val", data="d"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_affine_maps_over_own_classes_are_the_map_and_it_adds_in_single_precision(dtype: torch.dtype) -> None:
    fitted = Fitted((True, False, True), ("a", "b", "c"))
    plain, shifted = LogitOffset(0.1, fitted), LogitOffset(0.1, fitted, shifts=(0.5, 0.25, -0.5))
    for made, expected in ((plain, [0.0, 0.1, 0.0]), (shifted, [0.5, 0.35, -0.5])):
        for classes in ((), ("a", "b", "c")):
            affine = made.affine(classes)
            assert isinstance(affine, Affine) and affine.scale.tolist() == [1, 1, 1]
            assert affine.shift.tolist() == pytest.approx(expected) and affine.shift.dtype == torch.float32
    z = torch.tensor([[1.0, 2.0, 3.0]], dtype=dtype)
    assert shifted(z)[0].tolist() == pytest.approx([1.5, 2.35, 2.5], rel=1e-3) and shifted(z).dtype == dtype
    whole = LogitOffset(2, Fitted((True, False)))
    assert whole.affine().shift.dtype == torch.float32 and whole(torch.zeros(1, 2)).tolist() == [[0.0, 2.0]]
    assert LogitOffset(0.0, fitted).affine(("c", "b", "a")).shift.tolist() == [0.0, 0.0, 0.0]


def test_as_many_shifts_as_classes_or_none_are_taken() -> None:
    fitted = Fitted((True, False, True))
    assert LogitOffset(1.0, fitted, ()).shifts == () and len(LogitOffset(1.0, fitted, (0.0, 0.0, 0.0)).shifts) == 3
    for wrong in ((0.0,), (0.0, 0.0)):
        with pytest.raises(BadInput, match=f"shifts must be 3 numbers, one for each class; given: {len(wrong)}"):
            LogitOffset(1.0, fitted, wrong)
    for columns in (2, 4):
        with pytest.raises(BadInput, match=f"for 3 classes; the logits have {columns} columns"):
            LogitOffset(1.0, fitted)(torch.zeros(3, columns))
