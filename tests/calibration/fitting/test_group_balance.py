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
from tests.calibration.reference import nll

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


def by_hand(rows: Rows, inner: Affine, beta: float, one_slope: bool) -> tuple[float, tuple[float, float]]:
    """The share and the line, row by row, as the documentation says them."""
    seen = rows.seen.tolist()
    inside = [[v for v, s in zip(row, seen, strict=True) if s] for row in rows.logits.double().tolist()]
    absent = [max(v for v, s in zip(row, seen, strict=True) if not s) for row in rows.logits.double().tolist()]
    labels = rows.labels.tolist()

    def tops(z: list[list[float]]) -> list[tuple[float, float]]:
        """Of each row the logit of its own class, and the largest of the other seen ones."""
        return [(row[k], max(v for i, v in enumerate(row) if i != k)) for row, k in zip(z, labels, strict=True)]

    before, n = tops(inside), len(inside)
    for share in (1.0, 0.5, 0.25, 0.125, 0.0625, 0.0):
        dense = inner.scale if inner.scale.ndim == 2 else torch.diag(inner.scale)
        scale = beta * torch.eye(len(dense)) + share * (dense - beta * torch.eye(len(dense)))
        made = tops(
            (torch.tensor(inside, dtype=torch.float64) @ scale.T.double() + share * inner.shift.double()).tolist()
        )
        x, y = ([max(pair) for pair in own] + [other for _, other in own] for own in (before, made))
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        if one_slope:
            slope = float(scale[0, 0])
        else:
            variance = sum((one - mean_x) ** 2 for one in x) / len(x)
            slope = (
                sum((a - mean_x) * b for a, b in zip(x, y, strict=True)) / len(x) / variance
                if variance > 1e-12
                else beta
            )
            slope = slope if slope > 0.1 * beta else beta
        shift = mean_y - slope * mean_x
        lost = [0, 0, 0]
        for (own, other), (own_after, other_after), out in zip(before, made, absent, strict=True):
            out_after, own_out = slope * out + shift, slope * own + shift
            lost[0] += (own > max(other, out)) - (own_after > max(other_after, out_after))
            lost[1] += (own > other) - (own_out > other_after)
            lost[2] += (out > other) - (out_after > other_after)
        if share == 0 or max(lost) / n <= max(0.005, 1.5 / n):
            return share, (slope, shift)
    raise AssertionError


@pytest.mark.parametrize(
    ("case", "one_slope"),
    [
        ("biases", False), ("biases", True), ("scales", False), ("matrix", False), ("one logit moves", False),
        ("falling", False), ("equal logits", False), ("equal logits", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("n", [60, 1000])
def test_share_and_line_are_those_found_row_by_row(case: str, n: int, one_slope: bool) -> None:
    z, y, seen = toys.logits(n, sunk=0.5)
    z = z.double()
    if case == "equal logits":
        z = (z / 2).round()
    mask, random = seen[y], torch.Generator().manual_seed(n)
    given, shares = calibration_rows(z[mask], y[mask], seen), set()
    for strength in (0.02, 0.1, 0.2, 0.4, 0.8, 1.7, 3.2, 12.8, 51.2):
        scale, shift = torch.full((4,), BETA).double(), strength * torch.randn(4, generator=random).double()
        if case == "scales":
            scale = scale * torch.exp(strength * torch.linspace(-1, 1, 4))
        elif case == "matrix":
            scale = torch.diag(scale) + 0.3 * strength * torch.randn(4, 4, generator=random)
        elif case == "one logit moves":
            shift = torch.tensor([0.0, 0.0, strength, 0.0]).double()
        elif case == "equal logits":
            shift = (2 * shift).round() / 2  # so that logits are equal afterwards that were not before
        elif case == "falling":
            scale, shift = scale * (1 - strength / 2), 0 * shift
        inner = Affine(scale, shift)
        made = balanced(given, inner, BETA, one_slope=one_slope)
        share, line = by_hand(given, inner, BETA, one_slope)
        assert made.share == share and made.rest == pytest.approx(line, rel=1e-6, abs=1e-6)
        plain = BETA * (torch.eye(4) if case == "matrix" else torch.ones(4)).double()
        torch.testing.assert_close(made.inner.scale, plain + share * (scale - plain))
        torch.testing.assert_close(made.inner.shift, share * shift)
        told = made.details(given)
        inside = z[mask][:, seen]
        moved = inside @ made.inner.scale.T if scale.ndim == 2 else inside * made.inner.scale
        expected = {"share": share, "nll": pytest.approx(nll(moved + made.inner.shift, given.labels))}
        assert {key: value for key, value in told.items() if key != "note"} == (
            expected if share != 1 else {"share": 1.0}
        )
        assert told["note"].startswith(f"only {share:g} of the way" if share != 1 else "")
        assert bool(told["note"]) == (share != 1)
        shares.add(share)
    assert len(shares) > 1


def test_with_no_absent_class_the_line_is_the_temperatures_own() -> None:
    z, y, _ = toys.logits(300)
    every = calibration_rows(z, y, torch.ones(7, dtype=torch.bool))
    made = balanced(every, Affine(torch.linspace(-5, 5, 7), torch.ones(7)), BETA)
    assert made.rest == (BETA, 0.0) and made.details(every) == {"share": 1.0, "note": ""}


def test_rows_whose_largest_logits_are_all_alike_tell_no_slope() -> None:
    seen = torch.tensor([True, True, False])
    z = torch.tensor([[1.0, 1.0 + spread, -3.0] for spread in (1e-7, -1e-7) * 20]).double()
    given = calibration_rows(z, torch.arange(40) % 2, seen)
    for step in (1e-7, 1e-3):
        z[:, 1] = 1 + step * torch.linspace(-1, 1, 40)
        given = calibration_rows(z, torch.arange(40) % 2, seen)
        made = balanced(given, Affine(torch.full((2,), 0.7).double(), torch.zeros(2).double()), BETA)
        assert made.rest[0] == pytest.approx(BETA if step == 1e-7 else 0.7)
