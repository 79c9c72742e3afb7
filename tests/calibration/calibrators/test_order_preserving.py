"""Positive stretches of the gaps in a row: order kept, blind to the order of the classes, never worse than one."""

import itertools
import math
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
from reclaim.calibration.fitting.nets import Net
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
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


def factor(out: float) -> float:
    """What a gap is stretched by: above a thousandth, and 1 where the net says 0."""
    return (math.log(1 + math.exp(out + math.log(math.e - 1))) + 1e-3) / 1.001


def parts(seed: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    first = torch.randn(4, inputs + 1, generator=random)
    return torch.rand(2, inputs, generator=random) + 0.5, first, 2 * torch.randn(outputs, 5, generator=random)


def test_gaps_between_sorted_logits_are_stretched_by_the_nets_factors() -> None:
    seen = torch.tensor([True, False, True, True, True])
    made = OrderPreserving(*parts(1, 4, 3), "invariant", 1.3, Fitted(tuple(seen.tolist())))
    z = 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    inside = 1.3 * z[:, seen]
    expected = torch.zeros_like(inside)
    for row, into in zip(inside, expected, strict=True):
        order = row.argsort(descending=True).tolist()
        log_p = torch.stack([row[i] for i in order]) - row.logsumexp(dim=0)
        factors = [factor(out) for out in made_net(made)(log_p[None])[0].tolist()]
        for last, (i, j) in enumerate(itertools.pairwise(order)):
            into[j] = into[i] - factors[last] * (row[i] - row[j])
    laws.the_probabilities_are(made, z, expected.softmax(dim=1), 1.3)


def made_net(made: OrderPreserving) -> Net:
    return Net(made.inputs, made.first, made.second)


def test_depths_below_certainty_are_stretched_by_the_integral_of_the_nets_slope() -> None:
    seen = torch.tensor([True, False, True, True, True])
    first = (torch.tensor([[-3.0], [3.0]]), *parts(5, 1, 1)[1:])
    made = OrderPreserving(*first, "diagonal", 1.3, Fitted(tuple(seen.tolist())))
    z = 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z[0] *= 5  # beyond the last cell, whose slope goes on
    edges = [6 * (i / 64) ** 2 for i in range(65)]
    slopes = [
        factor(float(made_net(made)(torch.tensor([[-(a + b) / 2]]).double()))) for a, b in itertools.pairwise(edges)
    ]

    def integral(depth: float) -> float:
        total = sum(
            slope * (min(depth, b) - a) for slope, a, b in zip(slopes, edges, edges[1:], strict=False) if depth > a
        )
        return total + slopes[-1] * max(0.0, depth - edges[-1])

    inside = 1.3 * z[:, seen]
    depths = (inside.logsumexp(dim=1, keepdim=True) - inside).tolist()
    expected = torch.tensor([[-integral(depth) for depth in row] for row in depths], dtype=torch.float64)
    laws.the_probabilities_are(made, z, expected.softmax(dim=1), 1.3)


@pytest.mark.parametrize("unit", [0.05, 1.0, 30.0])
def test_the_inputs_are_the_rows_logarithmic_probabilities_at_the_best_temperature(unit: float) -> None:
    z, y, _ = draw(500, 7)
    best = Temperature.fit(unit * z, y)
    log_p = (unit * z / best.temperature).log_softmax(dim=1)
    made = OrderPreserving.fit(unit * z, y, variant="invariant", hidden=3)
    assert (
        made.first.shape == (3, 7) and made.second.shape == (5, 4) and made.scale == pytest.approx(1 / best.temperature)
    )
    ordered = log_p.sort(dim=1, descending=True).values
    torch.testing.assert_close(
        made.inputs.double(), torch.stack([ordered.mean(0), ordered.std(0, correction=0)]), rtol=1e-5, atol=1e-6
    )
    made = OrderPreserving.fit(unit * z, y, variant="diagonal", hidden=3)
    reach = float((-log_p).flatten().sort().values[int(0.99 * 3000)])
    assert made.inputs.flatten().tolist() == pytest.approx([-reach / 2, reach / 2], rel=1e-5) and reach > 1
    assert made.first.shape == (3, 2) and made.second.shape == (1, 4)


def test_the_diagonal_function_reaches_a_depth_of_one_at_least() -> None:
    random = torch.Generator().manual_seed(1)
    z = torch.randn(300, 2, generator=random).double()
    wrong = torch.rand(300, generator=random) < 0.45  # so that no probability is far from a half
    made = OrderPreserving.fit(z, torch.where(wrong, 1 - z.argmax(dim=1), z.argmax(dim=1)), variant="diagonal")
    assert float((z * made.scale).log_softmax(dim=1).min()) > -1 and made.inputs.flatten().tolist() == [-0.5, 0.5]


@VARIANTS
def test_rows_without_a_best_temperature_teach_nothing(variant: str) -> None:
    z, _, _ = draw(200, 1)
    made = OrderPreserving.fit(z, z.argmax(dim=1), variant=variant)
    assert not made.second.any() and made.fitted.details["iterations"] == 0
    assert made.fitted.details["note"].startswith("every row is right")


@VARIANTS
def test_what_is_learnt_is_the_loss_of_what_is_kept(variant: str) -> None:
    z, y, true = draw(3000, 9)
    made = OrderPreserving.fit(z, y, variant=variant)
    told = made.fitted.details
    assert told["iterations"] > 0 and told["note"] == ""
    assert told["nll"] == pytest.approx(nll(made(z), y), rel=1e-5) and told["nll"] < told["nll_temperature"] - 0.01
    assert told["nll"] < nll(true, y) + 0.003


def test_nets_of_other_sizes_are_refused() -> None:
    fitted = Fitted((True, False, True, True))
    for variant, inputs, outputs in (("invariant", 3, 2), ("diagonal", 1, 1)):
        assert OrderPreserving(*parts(1, inputs, outputs), variant, 1.0, fitted).variant == variant
        for wrong in ((inputs + 1, outputs), (inputs, outputs + 1), (inputs + 1, outputs + 1)):
            with pytest.raises(BadInput, match="must have the shape"):
                OrderPreserving(*parts(1, *wrong), variant, 1.0, fitted)
    with pytest.raises(BadInput, match="variant"):
        OrderPreserving(*parts(1, 3, 2), "other", 1.0, fitted)


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
