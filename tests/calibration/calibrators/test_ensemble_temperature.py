"""Ensemble temperature: its corners are known maps."""

import pytest
import torch

from reclaim.calibration.calibrators.ensemble_temperature import EnsembleTemperature
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests.calibration import laws
from tests.calibration.reference import nll, sampled

EVERY = Fitted((True,) * 5)


@pytest.mark.parametrize(("weights", "temperature"), [((1.0, 0.0, 0.0), 2.5), ((0.0, 1.0, 0.0), 1.0)])
def test_one_part_alone_is_a_temperature(weights: tuple[float, float, float], temperature: float) -> None:
    z, _ = sampled()
    made = EnsembleTemperature(2.5, weights, EVERY)(z).softmax(dim=1)
    torch.testing.assert_close(made, (z / temperature).softmax(dim=1), rtol=1e-4, atol=1e-6)


def test_the_equal_part_bounds_the_confidence() -> None:
    z, _ = sampled()
    made = EnsembleTemperature(1.0, (0.0, 0.7, 0.3), EVERY)(50 * z).softmax(dim=1)
    assert float(made.max()) <= 0.7 + 0.3 / 5 + 1e-6


def test_a_mixture_put_in_is_found() -> None:
    z, y = sampled(n=60_000)
    noise = torch.rand(60_000, generator=torch.Generator().manual_seed(1)) < 0.2
    y = torch.where(noise, torch.randint(0, 5, y.shape, generator=torch.Generator().manual_seed(2)), y)
    fitted = EnsembleTemperature.fit(z, y)
    assert sum(fitted.weights) == pytest.approx(1)
    assert fitted.weights[2] == pytest.approx(0.2, abs=0.05)
    assert nll(fitted(z), y) < nll(Temperature.fit(z, y)(z), y) - 1e-3
    assert nll(fitted(z), y) == pytest.approx(fitted.fitted.details["nll"], abs=1e-5)


def test_it_mixes_three_probabilities_of_seen_classes() -> None:
    _, z, _, seen = laws.bent_rows()
    made = EnsembleTemperature(2.5, (0.5, 0.3, 0.2), Fitted(tuple(seen.tolist())))
    inside = z[:, seen]
    mixed = 0.5 * laws.cooled_by_hand(inside, 2.5) + 0.3 * laws.cooled_by_hand(inside, 1.0) + 0.2 / 4
    laws.the_probabilities_are(made, z, mixed, 1 / 2.5)


def test_weights_sum_to_one_up_to_a_thousandth() -> None:
    assert EnsembleTemperature(1.0, (0.5, 0.3, 0.2009), EVERY) and EnsembleTemperature(1.0, (0.5, 0.3, 0.1991), EVERY)
    for third in (0.2015, 0.1985, 1.2):
        with pytest.raises(BadInput, match=r"weights must sum to one; given: \[0.5, 0.3, "):
            EnsembleTemperature(1.0, (0.5, 0.3, third), EVERY)
    for weights in ((1.2, 0.0, -0.2), (-0.2, 1.2, 0.0)):
        with pytest.raises(BadInput, match=r"weights\[\d\] must be a finite number of at least 0"):
            EnsembleTemperature(1.0, weights, EVERY)


@pytest.mark.parametrize("case", ["calibrated", "overconfident", "noisy", "bent", "hot"])
def test_no_weights_on_a_grid_are_better_and_none_is_dust(case: str) -> None:
    z, y = sampled(n=3000, seed=3)
    if case == "noisy":
        y[::5] = torch.randint(0, 5, (600,), generator=torch.Generator().manual_seed(0))
    z = {"overconfident": 5.0, "hot": 0.2}.get(case, 1.0) * z.double()
    if case == "bent":
        z = z * torch.where(torch.arange(3000)[:, None] % 2 == 0, 0.4, 2.0)
    made = EnsembleTemperature.fit(z, y)
    own = z.gather(1, y[:, None]).squeeze(1)
    first = (own / made.temperature - (z / made.temperature).logsumexp(dim=1)).exp()
    second, third = (own - z.logsumexp(dim=1)).exp(), torch.full((3000,), 0.2).double()
    assert made.temperature == pytest.approx(Temperature.fit(z, y).temperature)
    told, steps = made.fitted.details, 20
    assert told["nll_temperature"] == pytest.approx(float(-first.log().mean()))
    weights = torch.tensor(made.weights, dtype=torch.float64)
    mixed = torch.stack([first, second, third], dim=1)
    assert (
        told["nll"] == pytest.approx(float(-(mixed @ weights).log().mean())) and told["nll"] <= told["nll_temperature"]
    )
    for i in range(steps + 1):
        for j in range(steps + 1 - i):
            other = torch.tensor([i, j, steps - i - j], dtype=torch.float64) / steps
            assert float(-(mixed @ other).clamp_min(1e-300).log().mean()) >= told["nll"] - 1e-9
    slopes = -(mixed / (mixed @ weights)[:, None]).mean(dim=0)  # at the optimum alike, where a part is there at all
    assert all(
        abs(slope + 1) < 2e-3 if weight else slope > -1 - 2e-3 for slope, weight in zip(slopes, weights, strict=True)
    )
    assert all(weight == 0 or weight > 1e-9 for weight in made.weights)
