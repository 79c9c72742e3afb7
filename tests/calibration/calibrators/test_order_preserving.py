"""Positive stretches of the gaps in a row: order kept, blind to the order of the classes, never worse than one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from reclaim.calibration.calibrators.order_preserving import OrderPreserving
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.files import load_calibrator, save_calibrator
from tests import toys
from tests.calibration import laws

VARIANTS = pytest.mark.parametrize("variant", ["invariant", "diagonal"])


def make(seen: Tensor, variant: str = "invariant") -> OrderPreserving:
    """Fitted to rows of seen classes, whose columns stand where `seen` says."""
    z, y, first = toys.logits()
    keep = first[y]
    order = torch.empty(len(seen), dtype=torch.long)
    order[seen], order[~seen] = first.nonzero().squeeze(1), (~first).nonzero().squeeze(1)
    return OrderPreserving.fit(z[keep][:, order], order.argsort()[y[keep]], seen, variant=variant)


def draw(n: int, seed: int, classes: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and the logits that made them: a root of the depth below certainty, which is increasing."""
    random = torch.Generator().manual_seed(seed)
    z = 4 * torch.randn(n, classes, generator=random, dtype=torch.float64)
    true = -2.5 * (-z.log_softmax(dim=1)).sqrt()
    return z, true.softmax(dim=1).multinomial(1, generator=random).squeeze(1), true


def nll(logits: Tensor, y: Tensor) -> float:
    return float(cross_entropy(logits.double(), y))


@VARIANTS
def test_it_undoes_a_monotone_distortion_that_no_temperature_can(variant: str) -> None:
    rows = draw(4000, 0)[:2]
    z, y, true = draw(4000, 1)
    best, single = nll(true, y), nll(Temperature.fit(*rows)(z), y)
    own = nll(OrderPreserving.fit(*rows, variant=variant)(z), y)
    assert own < best + 0.25 * (single - best) and single - best > 0.01


@VARIANTS
def test_a_net_that_says_nothing_is_the_single_temperature(variant: str) -> None:
    z, _, seen = toys.logits()
    made = make(seen, variant)
    silent = replace(made, second=torch.zeros_like(made.second))
    torch.testing.assert_close(silent(z), z * made.scale)
    everything = OrderPreserving.fit(*draw(300, 6)[:2], variant=variant)
    silent = replace(everything, second=torch.zeros_like(everything.second))
    torch.testing.assert_close(silent(z[:, 1:]), z[:, 1:] * everything.scale, rtol=1e-5, atol=1e-5)


@VARIANTS
def test_an_order_of_the_classes_is_an_order_of_the_answer(variant: str) -> None:
    made = OrderPreserving.fit(*draw(500, 2)[:2], variant=variant)
    z, order = draw(50, 3)[0], [4, 2, 0, 1, 5, 3]
    assert torch.equal(made(z[:, order]), made(z)[:, order])


@VARIANTS
def test_a_constant_added_to_a_row_changes_no_probability(variant: str) -> None:
    made = OrderPreserving.fit(*draw(500, 2)[:2], variant=variant)
    z = draw(50, 3)[0]
    torch.testing.assert_close(made(z + 5).softmax(dim=1), made(z).softmax(dim=1))


def test_the_diagonal_one_is_strictly_increasing_and_the_same_for_every_class() -> None:
    made = OrderPreserving.fit(*draw(500, 2)[:2], variant="diagonal")
    grid = torch.linspace(-60, -1e-3, 4001, dtype=torch.float64)  # one class's logit from far away up to the top's
    z = torch.zeros(len(grid), 6, dtype=torch.float64).sub(100)
    z[:, 0], z[:, 1] = 0, grid
    gaps = made(z)[:, 0] - made(z)[:, 1]
    assert bool((gaps.diff() < 0).all()) and bool((gaps > 0).all())
    assert torch.equal(made(z.flip(1)).flip(1), made(z))


def test_absent_classes_and_the_margin_between_the_groups_are_scaled_alike() -> None:
    z, _, seen = toys.logits()
    made = make(seen)
    torch.testing.assert_close(made(z)[:, ~seen], z[:, ~seen] * made.scale)
    torch.testing.assert_close(made(z)[:, seen].amax(1), z[:, seen].amax(1) * made.scale)


@VARIANTS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_order_stays_and_equal_logits_stay_equal(dtype: torch.dtype, variant: str) -> None:
    laws.order_stays_and_equal_logits_stay_equal(
        OrderPreserving.fit(*draw(500, 2)[:2], variant=variant), draw(300, 4)[0].to(dtype)
    )


@VARIANTS
def test_it_is_never_less_likely_than_the_single_temperature(variant: str) -> None:
    for size in (3, 20, 200):
        z, y, _ = draw(size, size)
        made = OrderPreserving.fit(z, y, torch.ones(6, dtype=torch.bool), variant=variant)
        told = made.fitted.details
        assert told["nll"] <= told["nll_temperature"] <= told["nll_before"] + 1e-12
        assert told["nll"] == pytest.approx(nll(made(z), y))


def test_the_seed_alone_decides() -> None:
    laws.the_seed_alone_decides(OrderPreserving.fit, *draw(400, 5)[:2])


@VARIANTS
def test_its_arrays_are_saved(tmp_path: Path, variant: str) -> None:
    made = make(toys.logits()[2], variant)
    save_calibrator(tmp_path / "made.json", made)
    loaded = load_calibrator(tmp_path / "made.json")
    assert isinstance(loaded, OrderPreserving) and loaded == made
    assert all(torch.equal(getattr(loaded, name), getattr(made, name)) for name in ("inputs", "first", "second"))


@pytest.mark.real
@VARIANTS
@pytest.mark.parametrize("model", ["wrn16_4_c10", "wrn16_4_c100"])
def test_real_rows_are_no_less_likely_than_under_a_temperature(model: str, variant: str, real_data: Path) -> None:
    with np.load(real_data / "logits" / "cifar_softmax_netcal.npz") as file:
        p, labels = file[f"{model}_probs"], file[f"{model}_labels"].ravel()
    z, y = torch.from_numpy(p).clamp_min(np.finfo(np.float32).tiny).log(), torch.from_numpy(labels).long()
    rows = z[:5000], y[:5000]
    fits = (OrderPreserving.fit(*rows, variant=variant), Temperature.fit(*rows))
    own, single = (nll(fit(z[5000:10000]), y[5000:10000]) for fit in fits)
    assert own <= single + 0.005
