"""Ensemble temperature: its corners are known maps."""

import pytest
import torch

from reclaim.calibration.calibrators.ensemble_temperature import EnsembleTemperature
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.protocol import Fitted
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
