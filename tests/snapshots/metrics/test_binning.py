"""Bins: worked by hand."""

import pytest
import torch

from reclaim.snapshots.metrics.binning import binned


def test_bins_are_closed_on_the_right_and_the_first_one_holds_zero() -> None:
    p = torch.tensor([0.0, 0.25, 0.26, 0.5, 0.75, 1.0], dtype=torch.float64)
    b = binned(p, torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 1.0]), bins=4)
    assert b.count.tolist() == [2, 2, 1, 1]
    assert b.forecast.tolist() == pytest.approx([0.25, 0.76, 0.75, 1.0])
    assert b.hits.tolist() == [1, 1, 1, 1]


def test_bins_of_equal_mass_hold_equal_numbers_of_rows() -> None:
    p = torch.rand(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = binned(p, torch.ones(100), bins=7, scheme="mass")
    assert b.count.tolist() == [14, 14, 14, 15, 14, 14, 15]
    assert bool(((b.forecast / b.count).diff() > 0).all())


def test_bins_of_equal_mass_are_cut_between_distinct_probabilities() -> None:
    p = torch.tensor([0.1, 0.4, 0.4, 0.4, 0.4, 0.4, 0.8, 0.9])
    b = binned(p, torch.ones(8), bins=4, scheme="mass")
    assert b.count.tolist() == [6, 2]  # the five equal ones stay together; two of the four bins vanish
    assert binned(p, torch.ones(8), bins=100, scheme="mass").count.tolist() == [1, 5, 1, 1]


def test_one_probability_is_one_bin() -> None:
    assert binned(torch.full((9,), 0.3), torch.ones(9), scheme="mass").count.tolist() == [9]
