"""Reliability diagrams: what the bars must add up to."""

import pytest
import torch

from reclaim.snapshots.metrics.binning import Scheme
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.reliability import reliability_diagram
from tests.snapshots.metrics.test_calibration_error import pairs


@pytest.mark.parametrize("scheme", ["width", "mass"])
def test_the_gaps_of_the_bars_are_the_calibration_error(scheme: Scheme) -> None:
    p, hit = pairs(gap=0.1)
    bars = reliability_diagram(p, hit, bins=10, scheme=scheme)
    assert sum(bar.count for bar in bars) == len(p)
    gaps = sum(bar.count * abs(bar.forecast - bar.frequency) for bar in bars)
    assert gaps / len(p) == pytest.approx(ece(p, hit, bins=10, scheme=scheme), abs=1e-12)


def test_bars_ascend_and_empty_bins_have_none() -> None:
    p, hit = pairs()  # no probability is below .3
    bars = reliability_diagram(p, hit, bins=10)
    assert len(bars) == 7
    assert [bar.forecast for bar in bars] == sorted(bar.forecast for bar in bars)
    assert all(bar.low <= bar.frequency <= bar.high for bar in bars)


def test_most_intervals_of_a_calibrated_forecast_hold_it() -> None:
    bars = [bar for seed in range(20) for bar in reliability_diagram(*pairs(seed=seed))]
    assert sum(bar.low <= bar.forecast <= bar.high for bar in bars) / len(bars) == pytest.approx(0.95, abs=0.04)


def test_copies_within_groups_do_not_narrow_the_bars() -> None:
    p, hit = pairs()
    rows = torch.arange(len(p))
    alone = reliability_diagram(p, hit, groups=rows)
    assert alone == reliability_diagram(p, hit)
    for bar, many in zip(alone, reliability_diagram(p.repeat(4), hit.repeat(4), groups=rows.repeat(4)), strict=True):
        assert many.count == 4 * bar.count and many.frequency == pytest.approx(bar.frequency)
        assert many.high - many.low >= 0.99 * (bar.high - bar.low)
