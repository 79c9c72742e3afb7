"""Affine maps go as far as the balance between seen and absent classes allows."""

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from reclaim.calibration.fitting.group_balance import balanced
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Rows, calibration_rows, spread
from reclaim.core.affine import Affine
from reclaim.core.registry import find
from reclaim.snapshots.metrics.accuracy import accuracy
from tests import toys

BETA = 0.5


@pytest.fixture
def rows() -> Rows:
    z, y, seen = toys.logits(2000, sunk=0.5)
    mask = seen[y]
    return calibration_rows(z[mask], y[mask], seen)


def test_a_common_scale_and_shift_are_gone_to_the_end_and_the_line_is_theirs(rows: Rows) -> None:
    made = balanced(rows, Affine(torch.full((4,), 0.8), torch.full((4,), 1.5)), BETA)
    assert made.share == 1 and made.rest == pytest.approx((0.8, 1.5), abs=1e-5) and made.details(rows)["note"] == ""


def test_with_every_class_seen_nothing_is_held_back() -> None:
    z, y, _ = toys.logits(300)
    inner = Affine(torch.linspace(-5, 5, 7), torch.linspace(-20, 20, 7))
    made = balanced(calibration_rows(z, y, torch.ones(7, dtype=torch.bool)), inner, BETA)
    assert made.inner is inner and made.share == 1


@pytest.mark.parametrize("dense", [False, True])
def test_a_map_that_would_move_the_balance_is_held_back_towards_the_temperature(rows: Rows, dense: bool) -> None:
    wild = Affine(torch.full((4,), BETA), torch.tensor([0.0, 0.0, 0.0, 30.0]))
    wild = Affine(torch.diag(wild.scale), wild.shift) if dense else wild
    made = balanced(rows, wild, BETA)
    assert 0 <= made.share < 1 and "the balance" in str(made.details(rows)["note"])
    torch.testing.assert_close(made.inner.shift, made.share * wild.shift)
    torch.testing.assert_close(made.inner.scale, wild.scale)
    z, y, seen = toys.logits(5000, seed=1, sunk=0.5)
    whole = spread(made.inner, made.rest, Fitted(tuple(seen.tolist())), ())
    scale = whole.scale.diagonal() if dense else whole.scale
    before, after = accuracy(z, y, seen), accuracy(z * scale + whole.shift, y, seen)
    assert before.absent - after.absent < 0.03 and before.seen - after.seen < 0.03


@pytest.mark.parametrize("method", ["bias-corrected-temperature", "vector", "matrix"])
def test_naive_bayes_keeps_its_digits(method: str) -> None:
    """Its logits reach the hundreds: without holding back, a matrix loses up to 19 points of absent accuracy here, and
    a bias-corrected temperature 28 of seen accuracy."""
    x, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).numpy()
    x, y = x[order], torch.from_numpy(labels[order])
    made = GaussianNB().fit(x[:400], y[:400].numpy()).predict_proba(x[400:])
    z, y = torch.from_numpy(made).clamp_min(1e-308).log(), y[400:]
    lost = []
    for start in range(5):
        seen = (torch.arange(10) + start) % 10 < 5
        fit = torch.arange(700)[seen[y[:700]]]
        fitted = find("calibrators", method).fit(z[fit], y[fit], seen)
        before, after = (accuracy(logits, y[700:], seen) for logits in (z[700:], fitted(z[700:])))
        lost += [(before.absent or 0) - (after.absent or 0), (before.seen or 0) - (after.seen or 0)]
    assert max(lost) < 0.03
