"""ALG: closed forms."""

import pytest
import torch

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.average_logit_gap import average_logit_gap
from reclaim.core.errors import BadInput
from reclaim.snapshots.snapshot import Snapshot
from tests.calibration.shared import EVIDENCE, lowered, scaled


def test_a_case_worked_by_hand() -> None:
    z = torch.tensor([[5.0, 1.0, 3.0, -1.0, -3.0], [2.0, 4.0, 0.0, 1.0, 0.0]])
    seen = torch.tensor([True, True, True, False, False])
    rows = Snapshot(z, torch.tensor([0, 1]), seen)
    # row 1: (1+3)/2 - (-1-3)/2 = 4; row 2: (2+0)/2 - (1+0)/2 = 0.5
    assert average_logit_gap(Evidence(seen=rows)).offset == pytest.approx(2.25)


def test_it_equals_the_loop_of_the_paper() -> None:
    rows = EVIDENCE.seen
    gaps = []
    for z, y in zip(rows.logits, rows.labels, strict=True):
        others = [z[c] for c in range(7) if rows.seen[c] and c != y]
        absent = [z[c] for c in range(7) if not rows.seen[c]]
        gaps.append(sum(others) / len(others) - sum(absent) / len(absent))
    assert average_logit_gap(EVIDENCE).offset == pytest.approx(float(sum(gaps) / len(gaps)), rel=1e-6)


def test_lowering_absent_logits_raises_it_by_as_much() -> None:
    assert average_logit_gap(lowered(EVIDENCE, 1.7)).offset == pytest.approx(average_logit_gap(EVIDENCE).offset + 1.7)


def test_applied_once_there_is_no_gap_left() -> None:
    first = average_logit_gap(EVIDENCE).offset
    assert average_logit_gap(lowered(EVIDENCE, -first)).offset == pytest.approx(0.0, abs=1e-6)


def test_it_scales_with_the_logits() -> None:
    assert average_logit_gap(scaled(EVIDENCE, 3.0)).offset == pytest.approx(3 * average_logit_gap(EVIDENCE).offset)


def test_one_seen_class_is_not_enough() -> None:
    rows = Snapshot(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64), torch.tensor([True, False, False]))
    with pytest.raises(BadInput, match="needs two seen classes"):
        average_logit_gap(Evidence(seen=rows))
