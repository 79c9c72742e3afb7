"""A temperature for every row: read from the row, above zero, never worse than one for all."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from reclaim.calibration.calibrators.parametrised_temperature import ParametrisedTemperature
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.calibration.fitting.nets import Net
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests import toys
from tests.calibration import laws


def make(seen: Tensor) -> ParametrisedTemperature:
    """Fitted to rows of seen classes, whose columns stand where `seen` says."""
    z, y, first = toys.logits()
    keep = first[y]
    order = torch.empty(len(seen), dtype=torch.long)
    order[seen], order[~seen] = first.nonzero().squeeze(1), (~first).nonzero().squeeze(1)
    return ParametrisedTemperature.fit(z[keep][:, order], order.argsort()[y[keep]], seen)


def draw(n: int, seed: int, classes: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and the temperatures [N, 1] that made them: 4 where two classes are close, else 1."""
    random = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(n, classes, generator=random, dtype=torch.float64)
    top = z.topk(2, dim=1).values
    temperatures = torch.where(top[:, :1] - top[:, 1:] < 1.5, 4.0, 1.0).double()
    y = (z / temperatures).softmax(dim=1).multinomial(1, generator=random).squeeze(1)
    return z, y, temperatures


@pytest.mark.parametrize("loss", ["nll", "brier"])
def test_it_finds_the_rows_that_need_a_higher_temperature(loss: str) -> None:
    made = ParametrisedTemperature.fit(*draw(4000, 0)[:2], loss=loss)
    z, y, temperatures = draw(4000, 1)
    best, single = cross_entropy(z / temperatures, y), cross_entropy(Temperature.fit(*draw(4000, 0)[:2])(z), y)
    assert cross_entropy(made(z), y) < best + 0.2 * (single - best) and single - best > 0.03
    found = made.temperatures(z)
    assert bool((found > 0).all()) and found[temperatures == 4].median() > 2 * found[temperatures == 1].median()


def test_a_net_that_says_nothing_is_the_single_temperature() -> None:
    z, _, seen = toys.logits()
    made = make(seen)
    silent = replace(made, second=torch.zeros_like(made.second))
    torch.testing.assert_close(silent(z), z / made.temperature)


def test_every_row_is_divided_by_one_number_of_all_its_classes() -> None:
    z, _, seen = toys.logits()
    ratio = z / make(seen)(z)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    torch.testing.assert_close(ratio[:, :1].double(), make(seen).temperatures(z[:, seen]))


def test_a_constant_added_to_a_row_and_an_order_of_classes_change_no_temperature() -> None:
    made = ParametrisedTemperature.fit(*draw(500, 2)[:2])
    z = draw(50, 3)[0]
    torch.testing.assert_close(made.temperatures(z + 5), made.temperatures(z))
    torch.testing.assert_close(made.temperatures(z[:, [4, 2, 0, 1, 5, 3]]), made.temperatures(z))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_order_stays_and_equal_logits_stay_equal(dtype: torch.dtype) -> None:
    laws.order_stays_and_equal_logits_stay_equal(
        ParametrisedTemperature.fit(*draw(500, 2)[:2]), draw(300, 4)[0].to(dtype)
    )


def test_it_is_never_less_likely_than_the_single_temperature() -> None:
    for size in (3, 20, 200):
        z, y, _ = draw(size, size)
        made = ParametrisedTemperature.fit(z, y, torch.ones(6, dtype=torch.bool))
        told = made.fitted.details
        assert told["nll"] <= told["nll_temperature"] <= told["nll_before"] + 1e-12
        assert told["nll"] == pytest.approx(float(cross_entropy(made(z), y)))


def test_the_seed_alone_decides() -> None:
    laws.the_seed_alone_decides(ParametrisedTemperature.fit, *draw(400, 5)[:2])


def test_its_arrays_are_saved(tmp_path: Path) -> None:
    made = make(toys.logits()[2])
    save_calibrator(tmp_path / "made.json", made)
    loaded = load_calibrator(tmp_path / "made.json")
    assert isinstance(loaded, ParametrisedTemperature) and loaded == made
    assert all(torch.equal(getattr(loaded, name), getattr(made, name)) for name in ("inputs", "first", "second"))


def test_the_temperature_of_a_row_is_the_nets_of_its_largest_logarithmic_probabilities() -> None:
    random = torch.Generator().manual_seed(3)
    parts = [torch.randn(*size, generator=random) for size in ((2, 2), (4, 3), (1, 5))]
    parts[0][1] = parts[0][1].abs()
    made = ParametrisedTemperature(*parts, 1.6, Fitted((True, True, False, True)))
    z = 3 * torch.randn(30, 4, generator=random, dtype=torch.float64)
    inside = z[:, [0, 1, 3]] / 1.6
    two = (inside - inside.logsumexp(dim=1, keepdim=True)).sort(dim=1, descending=True).values[:, :2]
    out = Net(*parts)(two)[:, 0].tolist()
    one = math.log(math.exp(0.99) - 1)  # where softplus is .99, to which the least .01 comes
    expected = torch.tensor([1.6 * (math.log(1 + math.exp(value + one)) + 0.01) for value in out]).double()
    torch.testing.assert_close(made.temperatures(z[:, [0, 1, 3]])[:, 0], expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(made(z), z / expected[:, None], rtol=1e-6, atol=1e-9)


def test_it_reads_no_more_logits_than_there_are_and_one_number_comes_out() -> None:
    def parts(inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
        return torch.ones(2, inputs), torch.zeros(3, inputs + 1), torch.zeros(outputs, 4)

    seen = Fitted((True, True, False, True))
    assert ParametrisedTemperature(*parts(3, 1), 1.0, seen).inputs.shape == (2, 3)
    with pytest.raises(BadInput, match="inputs are for 4 logits of each row; there are 3"):
        ParametrisedTemperature(*parts(4, 1), 1.0, seen)
    with pytest.raises(BadInput, match="second must have the shape"):
        ParametrisedTemperature(*parts(3, 2), 1.0, seen)
    z, y, _ = draw(300, 6)
    assert ParametrisedTemperature.fit(z, y, top=4).inputs.shape == (2, 4)
    assert ParametrisedTemperature.fit(z, y, top=9, hidden=3).first.shape == (3, 7)


@pytest.mark.parametrize("given", [0.3, 1.0, 40.0])
def test_it_learns_from_the_best_temperature_whatever_the_unit(given: float) -> None:
    z, y, _ = draw(600, 2)
    one, other = ParametrisedTemperature.fit(z, y), ParametrisedTemperature.fit(given * z, y)
    assert other.temperature == pytest.approx(given * one.temperature, rel=1e-6)
    torch.testing.assert_close(other(given * z), one(z), rtol=1e-2, atol=1e-2)
    log_p = (z / one.temperature).log_softmax(dim=1).sort(dim=1, descending=True).values
    torch.testing.assert_close(one.inputs[0].double(), log_p.mean(dim=0), rtol=1e-5, atol=1e-6)
    assert one.fitted.details["iterations"] > 0 and other.fitted.details["note"] == ""


def test_by_the_brier_score_the_brier_score_is_lower() -> None:
    z, y, _ = draw(3000, 0)

    def brier(made: ParametrisedTemperature | Temperature) -> float:
        return float((made(z).softmax(dim=1) - torch.nn.functional.one_hot(y, 6)).square().sum(dim=1).mean())

    fits = [ParametrisedTemperature.fit(z, y, loss=loss) for loss in ("brier", "nll")]
    assert brier(fits[0]) < brier(fits[1]) < brier(Temperature.fit(z, y))
    assert fits[1].fitted.details["nll"] < fits[0].fitted.details["nll"]


def test_rows_without_a_best_temperature_teach_nothing() -> None:
    z, _, _ = draw(200, 1)
    made = ParametrisedTemperature.fit(z, z.argmax(dim=1))
    assert not made.second.any() and made.fitted.details["iterations"] == 0
    assert made.fitted.details["note"].startswith("every row is right")


@pytest.mark.real
@pytest.mark.parametrize("model", ["wrn16_4_c10", "wrn16_4_c100"])
def test_real_rows_are_no_less_likely_than_under_a_temperature(model: str, real_data: Path) -> None:
    with np.load(real_data / "logits" / "cifar_softmax_netcal.npz") as file:
        p, labels = file[f"{model}_probs"], file[f"{model}_labels"].ravel()
    z, y = torch.from_numpy(p).clamp_min(np.finfo(np.float32).tiny).log(), torch.from_numpy(labels).long()
    fits = [method.fit(z[:5000], y[:5000]) for method in (ParametrisedTemperature, Temperature)]
    own, single = (float(cross_entropy(fit(z[5000:10000]).double(), y[5000:10000])) for fit in fits)
    assert own <= single + 0.005
