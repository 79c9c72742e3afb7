"""Rate matching: the rate is met."""

import pytest
import torch

from reclaim.calibration.selectors.rate_matching import rate_matching
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.margins import group_bests
from tests.calibration.shared import EVIDENCE, lowered, scaled

COUNTS = pytest.mark.parametrize("count", ["hard", "soft"])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.77])
def test_as_many_rows_as_asked_are_answered_with_an_absent_class(rate: float) -> None:
    rows = EVIDENCE.unlabelled
    offset = rate_matching(EVIDENCE, rate=rate).offset
    best_seen, best_absent = group_bests(rows.logits + offset * ~rows.seen, rows.seen)
    assert int((best_absent > best_seen).sum()) == round(rate * len(rows))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.77])
def test_the_soft_count_is_met(rate: float) -> None:
    rows = EVIDENCE.unlabelled
    offset = rate_matching(EVIDENCE, rate=rate, count="soft").offset
    p = (rows.logits.double() + offset * ~rows.seen).softmax(1)[:, ~rows.seen].sum(1)
    assert float(p.mean()) == pytest.approx(rate, abs=1e-8)


@COUNTS
def test_by_default_the_rate_is_the_share_of_absent_classes(count: str) -> None:
    assert rate_matching(EVIDENCE, count=count).offset == rate_matching(EVIDENCE, rate=3 / 7, count=count).offset


@COUNTS
def test_lowering_absent_logits_raises_it_by_as_much(count: str) -> None:
    moved = rate_matching(lowered(EVIDENCE, 1.7), count=count).offset
    assert moved == pytest.approx(rate_matching(EVIDENCE, count=count).offset + 1.7, abs=1e-5)


@COUNTS
def test_more_absent_rows_mean_a_larger_offset(count: str) -> None:
    offsets = [rate_matching(EVIDENCE, rate=rate, count=count).offset for rate in (0.001, 0.2, 0.6, 0.999)]
    assert offsets == sorted(offsets) and len(set(offsets)) == 4


def test_the_hard_count_scales_with_the_logits() -> None:
    assert rate_matching(scaled(EVIDENCE, 3.0)).offset == pytest.approx(3 * rate_matching(EVIDENCE).offset)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.2])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        rate_matching(EVIDENCE, rate=rate)


def test_a_single_row_is_enough() -> None:
    one = EVIDENCE.unlabelled.rows(torch.tensor([0]))
    assert torch.isfinite(torch.tensor(rate_matching(type(EVIDENCE)(unlabelled=one)).offset))
