"""Relations: the order among absent classes, which no offset touches."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import spearmanr

from reclaim.report.diagnoses.relations import rank_correlation, relations
from tests import toys

BEFORE = toys.snapshot(n=600)


def test_an_offset_is_no_damage() -> None:
    found = relations(BEFORE, toys.snapshot(n=600, sunk=9.0))
    assert not found.damaged and found.value == 0.0 and found.evidence["rank_correlation"] == pytest.approx(1.0)


def test_mixed_up_absent_logits_are_damage() -> None:
    z = BEFORE.logits.clone()
    absent = (~BEFORE.seen).nonzero().squeeze(1)
    z[:, absent] = z[:, absent.roll(1)]
    found = relations(BEFORE, replace(BEFORE, logits=z))
    assert found.damaged and found.value < -0.3 and found.evidence["rank_correlation"] < 0.5
    only_seen = relations(BEFORE.seen_rows(), replace(BEFORE, logits=z).seen_rows())
    assert only_seen.value == pytest.approx(only_seen.evidence["rank_correlation"])


def test_the_rank_correlation_is_spearmans() -> None:
    a, b = torch.randn(9, 6), torch.randn(9, 6)
    expected = sum(spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)) / 9
    assert rank_correlation(a, b) == pytest.approx(expected)
