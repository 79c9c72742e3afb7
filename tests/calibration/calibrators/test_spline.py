"""Spline calibration: honest scores stay, dishonest ones are corrected, no class changes its place."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.nn.functional import cross_entropy

from reclaim.calibration.calibrators.spline import Spline
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests import toys
from tests.calibration import laws


def make(seen: Tensor) -> Spline:
    """Fitted to rows of seen classes, whose columns stand where `seen` says."""
    z, y, first = toys.logits()
    keep = first[y]
    order = torch.empty(len(seen), dtype=torch.long)
    order[seen], order[~seen] = first.nonzero().squeeze(1), (~first).nonzero().squeeze(1)
    return Spline.fit(z[keep][:, order], order.argsort()[y[keep]], seen)


def draw(n: int, seed: int, *, honest: bool = False) -> tuple[Tensor, Tensor]:
    """Logits, and labels from their softmax; if not `honest`, from flatter ones where two classes are close."""
    random = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(n, 6, generator=random, dtype=torch.float64)
    top = z.topk(2, dim=1).values
    temperatures = torch.where((top[:, :1] - top[:, 1:] < 1.5) & (not honest), 4.0, 1.0).double()
    return z, (z / temperatures).softmax(dim=1).multinomial(1, generator=random).squeeze(1)


def ks(z: Tensor, y: Tensor) -> float:
    """The largest distance between the cumulated largest probabilities and the cumulated right answers."""
    p, where = z.softmax(dim=1).max(dim=1)
    order = p.argsort()
    return float(((where == y).double() - p)[order].cumsum(0).abs().max()) / len(y)


def test_scores_that_are_calibrated_already_stay() -> None:
    z, y = draw(20000, 0, honest=True)
    made = Spline.fit(z, y)
    assert float(made.shifts.abs().max()) < 0.03
    assert float((made(z).softmax(dim=1) - z.softmax(dim=1)).abs().mean()) < 0.003


def test_scores_that_are_not_are_corrected_beyond_a_temperature() -> None:
    rows, (z, y) = draw(5000, 1), draw(5000, 2)
    own, single = Spline.fit(*rows)(z), Temperature.fit(*rows)(z)
    assert ks(own, y) < 0.6 * ks(single, y)
    assert float(cross_entropy(own, y)) < float(cross_entropy(single, y)) - 0.01


def test_a_table_of_zeros_is_the_single_temperature() -> None:
    z, _, seen = toys.logits()
    made = make(seen)
    flat = replace(made, shifts=torch.zeros_like(made.shifts))
    torch.testing.assert_close(flat(z), z * made.scale)


def test_the_largest_probability_is_shifted_and_the_others_share_the_rest_in_proportion() -> None:
    made = Spline(
        torch.tensor([0.2, 1.0]).double(), torch.tensor([-0.05, -0.05]).double(), 1e-3, 1.0, Fitted((True,) * 3)
    )
    p = torch.tensor([[0.1, 0.7, 0.2], [0.65, 0.3, 0.05]], dtype=torch.float64)
    expected = [[0.1 * 0.35 / 0.3, 0.65, 0.2 * 0.35 / 0.3], [0.6, 0.3 * 0.4 / 0.35, 0.05 * 0.4 / 0.35]]
    torch.testing.assert_close(made(p.log()).softmax(dim=1), torch.tensor(expected, dtype=torch.float64))


def test_the_largest_stays_the_largest_however_low_it_should_be() -> None:
    made = Spline(
        torch.tensor([0.2, 1.0]).double(), torch.tensor([-0.9, -0.9]).double(), 1e-3, 1.0, Fitted((True,) * 6)
    )
    z = draw(300, 3)[0]
    assert torch.equal(made(z).argsort(dim=1), z.argsort(dim=1))
    raised = replace(made, shifts=-made.shifts)
    assert torch.equal(raised(z).argsort(dim=1), z.argsort(dim=1))
    assert float(raised(z).softmax(dim=1).amax()) <= 1 - 1e-3 + 1e-9 or float(z.softmax(dim=1).amax()) > 1 - 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_order_stays_and_equal_logits_stay_equal(dtype: torch.dtype) -> None:
    laws.order_stays_and_equal_logits_stay_equal(Spline.fit(*draw(500, 5)), draw(300, 4)[0].to(dtype))


def test_an_order_of_the_classes_is_an_order_of_the_answer() -> None:
    made, order = Spline.fit(*draw(500, 5)), [4, 2, 0, 1, 5, 3]
    z = draw(50, 6)[0]
    torch.testing.assert_close(made(z[:, order]), made(z)[:, order])


def test_it_is_never_less_likely_than_the_single_temperature() -> None:
    for size in (1, 3, 20, 200):
        z, y = draw(size, size)
        made = Spline.fit(z, y, torch.ones(6, dtype=torch.bool))
        assert made.fitted.details["nll"] <= made.fitted.details["nll_temperature"]
        assert made.fitted.details["nll"] == pytest.approx(float(cross_entropy(made(z), y)))


def test_one_knot_is_refused() -> None:
    with pytest.raises(BadInput, match="knots must be a whole number between 2 and 10000; given: 1"):
        Spline.fit(*draw(50, 1), knots=1)


def test_two_knots_shift_all_scores_alike() -> None:
    shifts = Spline.fit(*draw(5000, 1), knots=2).shifts
    torch.testing.assert_close(shifts, shifts[:1].expand_as(shifts))


def test_its_arrays_are_saved(tmp_path: Path) -> None:
    made = make(toys.logits()[2])
    save_calibrator(tmp_path / "made.json", made)
    loaded = load_calibrator(tmp_path / "made.json")
    assert isinstance(loaded, Spline) and loaded == made
    assert torch.equal(loaded.scores, made.scores) and torch.equal(loaded.shifts, made.shifts)


def by_hand(made: Spline, row: list[float]) -> list[float]:
    """What becomes of one row of seen logits, up to a number added to all of them."""
    z = [one * made.scale for one in row]
    top = max(range(len(z)), key=z.__getitem__)
    total = sum(math.exp(one) for one in z)
    p, rest = math.exp(z[top]) / total, sum(math.exp(one) for i, one in enumerate(z) if i != top) / total
    second = max(one for i, one in enumerate(z) if i != top)
    shift = float(np.interp(p, made.scores.numpy(), made.shifts.numpy()))
    left = max(rest - shift, min(rest, made.room))
    if z[top] == second or left == rest:
        return z
    raised = math.log(max(1 - left, made.room) / left * rest / p)  # of the odds against all others
    z[top] = max(z[top] + raised, second + 0.01 * (z[top] - second))
    return z


@pytest.mark.parametrize("seed", range(4))
def test_each_row_is_shifted_as_by_hand(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    scores = torch.rand(6, generator=random, dtype=torch.float64).sort().values
    shifts = (torch.rand(6, generator=random, dtype=torch.float64) - 0.5) * (0.2, 0.5, 1.5, 0.01)[seed]
    if seed == 3:
        scores, shifts = scores[:1], shifts[:1]  # a constant
    seen = torch.tensor([True, False, True, True, True])
    made = Spline(scores, shifts, 0.03, 1.3, Fitted(tuple(seen.tolist())))
    z = 2 * torch.randn(200, 5, generator=random, dtype=torch.float64)
    z[::7] = z[::7].round()
    z[3] = torch.tensor([60.0, 1.0, 0.0, 0.0, -1.0])
    inside = torch.tensor([by_hand(made, row) for row in z[:, seen].tolist()], dtype=torch.float64)
    laws.the_probabilities_are(made, z, inside.softmax(dim=1), 1.3)
    assert made(z).dtype == torch.float64


def shifts_by_splines(scores: Tensor, right: Tensor, knots: int) -> np.ndarray:
    """At the rank of each row the slope of the natural cubic spline that comes nearest to the cumulated excess."""
    n, at = len(scores), np.linspace(0, 1, knots)
    rank, excess = np.arange(1, n + 1) / n, (right.double() - scores).cumsum(dim=0).numpy() / n
    pieces = [CubicSpline(at, one, bc_type="natural") for one in np.eye(knots)]
    weights = np.linalg.lstsq(np.stack([piece(rank) for piece in pieces], axis=1), excess, rcond=None)[0]
    return sum(weight * piece(rank, 1) for weight, piece in zip(weights, pieces, strict=True))


@pytest.mark.parametrize("knots", [2, 3, 6])
@pytest.mark.parametrize("n", [40, 257, 258, 3000])
def test_the_table_is_the_slope_of_a_natural_spline_at_the_ranks(n: int, knots: int) -> None:
    z, y = draw(n, n)
    if n == 40:
        z = z.round()  # equal scores share the mean of their shifts
    made = Spline.fit(z, y, torch.ones(6, dtype=torch.bool), knots=knots)
    assert made.fitted.details["note"] == ""
    p, where = (z * made.scale).softmax(dim=1).max(dim=1)
    order = p.argsort(stable=True)
    expected = shifts_by_splines(p[order], (where == y)[order], knots)
    at = np.round(np.linspace(0, n - 1, min(n, 257))).astype(int)
    scores, index, counts = np.unique(p[order].numpy()[at], return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=expected[at]) / counts
    assert len(made.scores) == len(scores) and (len(scores) < 40 if n == 40 else len(scores) == min(n, 257))
    np.testing.assert_allclose(made.scores.numpy(), scores, rtol=1e-9)
    np.testing.assert_allclose(made.shifts.numpy(), means, rtol=1e-5, atol=1e-7)
    assert made.room == pytest.approx(1 / (n / (knots - 1) + 2), rel=1e-12)
    assert made.scale == pytest.approx(1 / Temperature.fit(z, y, torch.ones(6, dtype=torch.bool)).temperature)


def test_a_table_need_not_ascend_strictly_and_must_not_fall() -> None:
    one, fitted = torch.tensor([0.3, 0.3, 0.5]), Fitted((True, True))
    assert (
        len(Spline(one, one, 0.1, 1.0, fitted).scores) == 3
        and len(Spline(one[:1], one[:1], 0.1, 1.0, fitted).scores) == 1
    )
    with pytest.raises(BadInput, match="scores must ascend"):
        Spline(one.flip(0), one, 0.1, 1.0, fitted)
    with pytest.raises(BadInput, match=r"shifts must have the shape \[3\]; given: \[2\]"):
        Spline(one, one[:2], 0.1, 1.0, fitted)


def test_rows_without_a_best_temperature_are_not_shifted() -> None:
    z = draw(100, 3)[0]
    made = Spline.fit(z, z.argmax(dim=1))
    assert not made.shifts.any() and made.fitted.details["note"].startswith("every row is right")
    for size in (3, 20):  # a spline that is worse than the temperature leaves no shift, and says so
        few, labels = draw(size, size)
        kept = Spline.fit(few, labels, torch.ones(6, dtype=torch.bool))
        assert bool(kept.shifts.any()) == (kept.fitted.details["note"] == "")


@pytest.mark.real
@pytest.mark.parametrize("model", ["wrn16_4_c10", "wrn16_4_c100"])
def test_real_rows_are_hardly_less_likely_than_under_a_temperature(model: str, real_data: Path) -> None:
    with np.load(real_data / "logits" / "cifar_softmax_netcal.npz") as file:
        p, labels = file[f"{model}_probs"], file[f"{model}_labels"].ravel()
    z, y = torch.from_numpy(p).clamp_min(np.finfo(np.float32).tiny).log(), torch.from_numpy(labels).long()
    own, single = (method.fit(z[:5000], y[:5000])(z[5000:10000]).double() for method in (Spline, Temperature))
    assert float(cross_entropy(own, y[5000:10000])) <= float(cross_entropy(single, y[5000:10000])) + 0.005
    assert ks(own, y[5000:10000]) < 0.02
