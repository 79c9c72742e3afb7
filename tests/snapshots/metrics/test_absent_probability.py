"""The group question: definitions, and what an offset does to it."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from reclaim.snapshots.metrics.absent_probability import absent_log_odds, group_question
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.confidence import confidence
from tests import toys


def test_it_equals_its_definition() -> None:
    z, y, seen = toys.logits()
    p, hit = z.double().softmax(1)[:, ~seen].sum(1), (~seen[y]).double()
    found = group_question(z, y, seen)
    assert found.nll == pytest.approx(float(binary_cross_entropy(p, hit)), abs=1e-6)
    assert found.brier == pytest.approx(float((p - hit).square().mean()), abs=1e-6)
    assert found.ece == pytest.approx(ece(p, hit), abs=1e-6)


def test_of_two_classes_its_likelihood_is_that_of_the_classifier() -> None:
    z, y, _ = toys.logits(c=2)
    seen = torch.tensor([True, False])
    found, whole = group_question(z, y, seen), confidence(z, y)
    assert found.nll == pytest.approx(whole.nll, abs=1e-6)
    assert 2 * found.brier == pytest.approx(whole.brier, abs=1e-6)


def test_an_offset_adds_to_the_log_odds() -> None:
    z, _, seen = toys.logits()
    z = z.double()
    torch.testing.assert_close(absent_log_odds(z + 2.5 * ~seen, seen), absent_log_odds(z, seen) + 2.5)


def test_an_overall_error_near_zero_can_hide_a_wrong_answer_to_the_question() -> None:
    z, y, seen = toys.logits(sunk=0.0)
    assert group_question(z - 6.0 * ~seen, y, seen).ece > group_question(z, y, seen).ece + 0.2


def test_logits_sunk_far_cost_much_but_stay_finite() -> None:
    z, y, seen = toys.logits(sunk=500.0)
    assert 150 < group_question(z, y, seen).nll < 350


def test_the_log_odds_are_exact_however_far_a_group_is_sunk() -> None:
    z, _, seen = toys.logits()
    z[::2] -= 90.0 * ~seen  # in every other row
    wide = z.double()
    expected = wide[:, ~seen].logsumexp(1) - wide[:, seen].logsumexp(1)
    torch.testing.assert_close(absent_log_odds(z, seen), expected, rtol=1e-6, atol=1e-5)


def test_without_rows_or_without_two_groups_there_is_no_question() -> None:
    z, y, seen = toys.logits()
    for found in (
        group_question(z[:0], y[:0], seen),
        group_question(z, y, torch.ones(7, dtype=torch.bool)),
        group_question(z, y, torch.zeros(7, dtype=torch.bool)),
    ):
        assert (found.nll, found.brier, found.ece) == (None, None, None)


def test_rows_of_one_group_still_answer_it() -> None:
    z, y, seen = toys.logits()
    only = seen[y]
    assert group_question(z[only], y[only], seen).nll > 0
