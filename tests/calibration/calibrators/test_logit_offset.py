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
from reclaim.core.errors import BadInput
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
