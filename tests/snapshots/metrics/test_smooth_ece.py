"""Smooth calibration error: known answers, and a slow computation of the same."""

import numpy as np
import pytest
import torch

from reclaim.snapshots.metrics.smooth_ece import smooth_ece
from tests.snapshots.metrics.test_calibration_error import pairs


def slowly(p: np.ndarray, hit: np.ndarray, width: float, points: int = 2000) -> float:
    """The integral for one width by the midpoint rule, every row's kernel reflected five times."""
    t = (np.arange(points) + 0.5) / points
    smoothed = np.zeros(points)
    for shift in range(-4, 5, 2):
        for image in (p + shift, shift - p):
            near = np.exp(-(((t[:, None] - image) / width) ** 2) / 2) / (np.sqrt(2 * np.pi) * width)
            smoothed += near @ (p - hit) / len(p)
    return float(np.abs(smoothed).mean())


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.3])
def test_the_width_equals_the_error_at_that_width(gap: float) -> None:
    p, hit = pairs(n=300, gap=gap)
    found = smooth_ece(p, hit)
    assert slowly(p.numpy(), hit.numpy(), found) == pytest.approx(found, abs=1e-5)


def test_fair_coins_announced_as_such_have_next_to_no_error() -> None:
    for seed in range(5):
        hit = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, 20_000))
        assert smooth_ece(torch.full((20_000,), 0.5), hit) < 0.012


def test_a_constant_gap_is_found() -> None:
    assert smooth_ece(*pairs(n=40_000, gap=0.2)) == pytest.approx(0.2, abs=0.01)
    assert smooth_ece(torch.full((100,), 0.7), (torch.arange(100) < 40).double()) == pytest.approx(0.3, abs=1e-4)


def test_gaps_of_either_sign_cancel_only_where_they_are_near() -> None:
    hit = torch.tensor([1.0, 0.0]).repeat(500)
    assert smooth_ece(torch.tensor([0.499, 0.501]).repeat(500), hit) < 0.02
    assert smooth_ece(torch.tensor([0.1, 0.9]).repeat(500), hit) > 0.3


def test_the_ends_of_the_range_are_as_good_as_its_middle() -> None:
    assert smooth_ece(torch.ones(50), torch.ones(50)) == pytest.approx(0, abs=1e-12)
    assert smooth_ece(torch.zeros(50), (torch.arange(50) < 10).double()) == pytest.approx(0.2, abs=1e-4)
    assert smooth_ece(torch.ones(50), torch.zeros(50)) == pytest.approx(1.0, abs=1e-4)


def test_the_order_of_rows_and_the_names_of_outcomes_do_not_matter() -> None:
    p, hit = pairs()
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(p)))
    assert smooth_ece(p[order], hit[order]) == pytest.approx(smooth_ece(p, hit), abs=1e-9)
    assert smooth_ece(1 - p, 1 - hit) == pytest.approx(smooth_ece(p, hit), abs=1e-9)
