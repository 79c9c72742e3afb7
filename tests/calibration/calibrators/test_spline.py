"""Spline calibration: honest scores stay, dishonest ones are corrected, no class changes its place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
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


@pytest.mark.real
@pytest.mark.parametrize("model", ["wrn16_4_c10", "wrn16_4_c100"])
def test_real_rows_are_hardly_less_likely_than_under_a_temperature(model: str, real_data: Path) -> None:
    with np.load(real_data / "logits" / "cifar_softmax_netcal.npz") as file:
        p, labels = file[f"{model}_probs"], file[f"{model}_labels"].ravel()
    z, y = torch.from_numpy(p).clamp_min(np.finfo(np.float32).tiny).log(), torch.from_numpy(labels).long()
    own, single = (method.fit(z[:5000], y[:5000])(z[5000:10000]).double() for method in (Spline, Temperature))
    assert float(cross_entropy(own, y[5000:10000])) <= float(cross_entropy(single, y[5000:10000])) + 0.005
    assert ks(own, y[5000:10000]) < 0.02
