"""The Brier score taken apart: identities."""

import numpy as np
import pytest
import torch

from reclaim.snapshots.metrics.binning import Scheme
from reclaim.snapshots.metrics.brier import binary_brier, brier_parts
from tests.snapshots.metrics.test_calibration_error import pairs


def total(parts: object) -> float:
    return parts.reliability - parts.resolution + parts.uncertainty  # type: ignore[attr-defined]


def test_of_forecasts_that_are_constant_inside_bins_the_three_parts_are_the_whole() -> None:
    p, hit = pairs()
    p = (p * 15).ceil() / 15 - 1 / 30
    parts = brier_parts(p, hit)
    assert total(parts) == pytest.approx(binary_brier(p, hit), abs=1e-12)
    assert parts.within == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scheme", ["width", "mass"])
def test_the_rest_is_the_variance_less_twice_the_covariance_inside_bins(scheme: Scheme) -> None:
    p, hit = pairs()
    parts = brier_parts(p, hit, bins=4, scheme=scheme)
    edges = [0.25, 0.5, 0.75, 1.0] if scheme == "width" else np.sort(p.numpy())[[199, 399, 599, 799]]
    index = np.searchsorted(edges, p.numpy())
    rest = 0.0
    for b in range(4):
        f, k = p.numpy()[index == b], hit.numpy()[index == b]
        if len(f):
            rest += len(f) / 800 * (f.var() - 2 * np.mean((f - f.mean()) * (k - k.mean())))
    assert parts.within == pytest.approx(rest, abs=1e-12)


def test_a_forecast_of_the_base_rate_has_only_uncertainty() -> None:
    hit = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0])
    parts = brier_parts(torch.full((5,), 0.6, dtype=torch.float64), hit)
    assert (parts.reliability, parts.resolution) == pytest.approx((0, 0), abs=1e-12)
    assert parts.uncertainty == pytest.approx(0.24) == binary_brier(torch.full((5,), 0.6, dtype=torch.float64), hit)


def test_a_certain_and_right_forecast_resolves_all_uncertainty() -> None:
    hit = torch.tensor([1.0, 0.0, 0.0, 1.0])
    parts = brier_parts(hit, hit)
    assert (parts.reliability, parts.within) == (0, 0)
    assert parts.resolution == parts.uncertainty == 0.25
