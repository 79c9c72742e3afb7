"""Rate matching: the rate is met."""

from math import log

import numpy as np
import pytest
import torch
from scipy.special import expit

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.rate_matching import rate_matching
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.margins import group_bests
from reclaim.snapshots.snapshot import Snapshot
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
    assert torch.isfinite(torch.tensor(rate_matching(Evidence(unlabelled=one)).offset))


def of_margins(margins: list[float], dtype: torch.dtype = torch.float64) -> Evidence:
    """Unlabelled rows of a seen and an absent class whose logits differ by these numbers."""
    d = torch.tensor(margins, dtype=dtype)
    return Evidence(unlabelled=Snapshot(torch.stack([d, 0 * d], dim=1), None, torch.tensor([True, False])))


@pytest.mark.parametrize("rate", [1e-9, 0.1, 0.25, 0.5, 0.75, 0.999])
def test_of_a_single_row_it_is_known_in_closed_form(rate: float) -> None:
    """Hard: in proportion from 1 below the margin to 1 above; soft: the odds are those of the rate."""
    assert rate_matching(of_margins([7.0]), rate=rate).offset == pytest.approx(7 + 2 * rate - 1, abs=1e-12)
    soft = rate_matching(of_margins([7.0]), rate=rate, count="soft").offset
    assert soft == pytest.approx(7 + log(rate / (1 - rate)), abs=1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.62, 0.97])
@pytest.mark.parametrize("n", [2, 5, 10, 33])
def test_the_hard_count_is_the_quantile_that_hazen_wrote_down(rate: float, n: int) -> None:
    margins = np.random.default_rng(n).normal(3, 2, n)
    padded = np.concatenate([[margins.min() - 2], margins, [margins.max() + 2]])  # beyond the outermost rows
    share = (rate * n + 1) / (n + 2)
    expected = np.quantile(padded, share, method="hazen")
    assert rate_matching(of_margins(margins.tolist()), rate=rate).offset == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("moved", [-300.0, 0.0, 70.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_soft_count_is_met_wherever_the_absent_logits_stand(moved: float, dtype: torch.dtype) -> None:
    given = of_margins([moved - 2.0, moved + 1.0, moved + 5.0], dtype)
    d = given.unlabelled.logits[:, 0].double().numpy()
    for rate in (0.01, 0.4, 0.99):
        offset = rate_matching(given, rate=rate, count="soft").offset
        assert expit(offset - d).mean() == pytest.approx(rate, abs=1e-10)


def test_the_soft_count_of_logits_of_any_size_ends() -> None:
    for size in (1e4, 1e30, 1e300):
        found = rate_matching(of_margins([-size, 1.5, 3 * size]), rate=0.5, count="soft").offset
        assert found == pytest.approx(1.5, abs=1e-3)
        assert rate_matching(of_margins([size]), rate=0.4, count="soft").offset == pytest.approx(size + log(2 / 3))


def test_between_two_rows_there_is_a_rate_that_gives_any_offset() -> None:
    assert [rate_matching(of_margins([2.0, 4.0, 10.0]), rate=k / 6).offset for k in (1, 2, 3, 4, 5)] == pytest.approx(
        [2.0, 3.0, 4.0, 7.0, 10.0]
    )
