"""Own class left out: equal to trying every threshold."""

import pytest
import torch

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.own_class_left_out import own_class_left_out
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.snapshot import Snapshot
from tests.calibration.shared import EVIDENCE, lowered


def test_no_offset_does_better() -> None:
    rows = EVIDENCE.seen
    m = margins(rows.logits, rows.labels, rows.seen)

    def value(offset: float) -> float:
        return float((m.hit & (m.margin > offset)).double().mean() + (m.left_out < offset).double().mean())

    chosen = own_class_left_out(EVIDENCE).offset
    everywhere = torch.cat([m.margin, m.left_out]).unique()
    between = (everywhere[1:] + everywhere[:-1]) / 2
    assert value(chosen) == max(value(offset) for offset in between.tolist())


def test_lowering_absent_logits_raises_it_by_as_much() -> None:
    moved = own_class_left_out(lowered(EVIDENCE, 1.7)).offset
    assert moved == pytest.approx(own_class_left_out(EVIDENCE).offset + 1.7, abs=1e-6)


def test_one_seen_class_is_not_enough() -> None:
    rows = Snapshot(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64), torch.tensor([True, False, False]))
    with pytest.raises(BadInput, match="needs two seen classes"):
        own_class_left_out(Evidence(seen=rows))
