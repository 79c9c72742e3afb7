"""Calibration error: closed forms, invariances, bias."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from reclaim.snapshots.metrics.binning import binned
from reclaim.snapshots.metrics.calibration_error import debiased_l1, debiased_l2, ece, ks, mce

ALL = [
    ece,
    lambda p, k: ece(p, k, scheme="mass"),
    mce,
    debiased_l1,
    debiased_l2,
    ks,
]
NAMES = ["ece", "equal mass", "mce", "debiased l1", "debiased l2", "ks"]
every = pytest.mark.parametrize("error", ALL, ids=NAMES)


def pairs(n: int = 800, gap: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Probabilities, and outcomes that happen less often than they say, by `gap`."""
    random = np.random.default_rng(seed)
    p = 0.3 + 0.7 * random.random(n)
    return torch.from_numpy(p), torch.from_numpy((random.random(n) < p - gap).astype(float))


@every
def test_the_order_of_rows_does_not_matter(error: Callable[..., float]) -> None:
    p, hit = pairs()
    p = (p * 20).round() / 20  # many ties
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(p)))
    assert error(p, hit) == pytest.approx(error(p[order], hit[order]), abs=1e-12)


@every
def test_sure_and_right_is_no_error_and_sure_and_wrong_is_all(error: Callable[..., float]) -> None:
    one = torch.ones(20)
    assert error(one, one) == 0
    assert error(one, 0 * one) == pytest.approx(1)


@every
def test_a_constant_gap_is_found(error: Callable[..., float]) -> None:
    assert error(*pairs(n=40_000, gap=0.2)) == pytest.approx(0.2, abs=0.03 if error is mce else 0.01)


def test_three_bins_worked_by_hand() -> None:
    p = torch.tensor([0.2, 0.3, 0.5, 0.5, 0.9, 0.9, 0.9, 0.9], dtype=torch.float64)
    hit = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    gaps, share = np.array([0.25, 0.0, 0.15]), np.array([2, 2, 4]) / 8
    assert ece(p, hit, bins=3) == pytest.approx(float(share @ gaps))
    assert mce(p, hit, bins=3, at_least=1) == pytest.approx(0.25)
    assert mce(p, hit, bins=3, at_least=3) == pytest.approx(0.15)
    assert mce(p, hit, bins=3) is None
    square = gaps**2 - np.array([0.25 / 1, 0.25 / 1, 0.75 * 0.25 / 3])
    assert debiased_l2(p, hit, bins=3, scheme="width") == max(0.0, float(share @ square)) ** 0.5
    assert ks(p, hit) == pytest.approx(0.5 / 8)  # after the second probability: .5 - 1


def test_a_gap_of_either_sign_in_the_same_bin_cancels_in_bins_but_not_between_them() -> None:
    p = torch.tensor([0.2, 0.8], dtype=torch.float64).repeat(50)
    hit = torch.tensor([1.0, 0.0]).repeat(50)
    assert ece(p, hit, bins=1) == pytest.approx(0, abs=1e-12)
    assert ece(p, hit, bins=2) == pytest.approx(0.8)
    assert ks(p, hit) == pytest.approx(0.4)


def test_the_correction_equals_a_mean_over_draws() -> None:
    p, hit = pairs(n=300, gap=0.05)
    b = binned(p, hit)
    kept = b.count > 0
    n, forecast, frequency = (
        b.count[kept].numpy(),
        (b.forecast / b.count)[kept].numpy(),
        (b.hits / b.count)[kept].numpy(),
    )
    spread = np.sqrt(frequency * (1 - frequency) / n)
    draws = frequency + spread * np.random.default_rng(0).standard_normal((100_000, len(n)))
    expected = 2 * ece(p, hit) - float((np.abs(draws - forecast) @ n).mean() / n.sum())
    assert debiased_l1(p, hit) == pytest.approx(expected, abs=2e-4)


def test_of_a_perfectly_calibrated_model_the_plug_in_shows_an_error_and_the_debiased_square_none() -> None:
    plug, folded, square = [], [], []
    for seed in range(200):
        p, hit = pairs(n=500, seed=seed)
        b = binned(p, hit, scheme="mass")
        plug.append(ece(p, hit))
        folded.append(debiased_l1(p, hit))
        gap, frequency = (b.forecast - b.hits) / b.count, b.hits / b.count
        square.append(float(((gap**2 - frequency * (1 - frequency) / (b.count - 1)) * b.count).sum() / 500))
        assert debiased_l2(p, hit) == pytest.approx(math.sqrt(max(0.0, square[-1])))
    assert np.mean(plug) > 0.03
    assert abs(np.mean(square)) < 3 * np.std(square) / math.sqrt(200)
    assert 0.5 < np.mean(folded) / np.mean(plug) < 0.67  # 2 - √2 where the bins are large


def test_the_bias_of_the_plug_in_is_the_published_one() -> None:
    errors = []
    for seed in range(50):
        random = np.random.default_rng(seed)
        p = (np.arange(1000) % 15 + 0.5) / 15
        errors.append(ece(torch.from_numpy(p), torch.from_numpy((random.random(1000) < p).astype(float))))
    middle = (np.arange(15) + 0.5) / 15
    expected = float(np.mean(np.sqrt(2 * middle * (1 - middle) / (np.pi * 1000 / 15))))
    assert np.mean(errors) == pytest.approx(expected, rel=0.05)
