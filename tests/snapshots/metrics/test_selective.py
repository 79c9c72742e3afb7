"""Selective risk: closed forms, and ties as the mean over all orders."""

import itertools

import numpy as np
import pytest
import torch

from reclaim.snapshots.metrics.selective import aurc, excess_aurc, oracle_aurc, selective_risk


def test_a_case_worked_by_hand() -> None:
    score, right = torch.tensor([0.9, 0.6, 0.8, 0.7]), torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert selective_risk(score, right).tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert aurc(score, right) == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_a_perfect_ranking_is_the_oracle() -> None:
    right = (torch.arange(50) >= 13).double()
    assert aurc(torch.arange(50), right) == pytest.approx(oracle_aurc(50, 13), abs=1e-12)
    assert excess_aurc(torch.arange(50), right) == pytest.approx(0, abs=1e-12)
    assert excess_aurc(-torch.arange(50), right) > 0.3


def test_ties_are_the_mean_over_all_their_orders() -> None:
    score, right = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.1]), torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    wrong = 1 - right.numpy()
    orders = itertools.permutations([1, 2, 3, 4])
    values = [np.mean(np.cumsum(wrong[[0, *order, 5]]) / np.arange(1, 7)) for order in orders]
    assert aurc(score, right) == pytest.approx(np.mean(values), abs=1e-12)


def test_a_constant_score_has_the_error_rate_at_every_coverage() -> None:
    right = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])
    torch.testing.assert_close(selective_risk(torch.full((5,), 0.3), right), torch.full((5,), 0.4, dtype=torch.float64))


def test_only_the_order_of_scores_matters() -> None:
    random = np.random.default_rng(0)
    score, right = torch.from_numpy(random.random(300).round(2)), torch.from_numpy(random.integers(0, 2, 300))
    order = torch.from_numpy(random.permutation(300))
    assert aurc(score, right) == pytest.approx(aurc(score[order], right[order]), abs=1e-12)
    assert aurc(score, right) == pytest.approx(aurc(3 * score - 7, right), abs=1e-12)


def test_without_errors_there_is_no_risk() -> None:
    assert aurc(torch.rand(9), torch.ones(9)) == excess_aurc(torch.rand(9), torch.ones(9)) == 0
    assert aurc(torch.rand(9), torch.zeros(9)) == 1
    assert excess_aurc(torch.rand(9), torch.zeros(9)) == pytest.approx(0)
