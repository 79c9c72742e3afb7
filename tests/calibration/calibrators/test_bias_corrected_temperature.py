"""Bias-corrected temperature: between temperature and vector."""

import pytest
import torch

from reclaim.calibration.calibrators.bias_corrected_temperature import BiasCorrectedTemperature
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests import toys
from tests.calibration.reference import nll, sampled

BIAS = torch.tensor([1.0, -0.5, 0.0, 0.3, -0.8])


def test_at_the_optimum_every_class_is_as_probable_as_it_is_frequent() -> None:
    z, y = sampled()
    fitted = BiasCorrectedTemperature.fit(2 * z + BIAS, y, ridge=0.0)
    p = fitted((2 * z + BIAS).double()).softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(p, torch.bincount(y, minlength=5) / len(y), rtol=0, atol=1e-5, check_dtype=False)


def test_a_bias_put_in_is_taken_out() -> None:
    z, y = sampled(n=40_000)
    fitted = BiasCorrectedTemperature.fit(2 * z + BIAS, y)
    assert fitted.temperature == pytest.approx(2, rel=0.03)
    found = torch.tensor(fitted.biases) + BIAS / 2
    torch.testing.assert_close(found - found.mean(), torch.zeros(5), rtol=0, atol=0.06)


def test_an_endless_ridge_leaves_the_temperature() -> None:
    z, y = sampled()
    stiff, plain = BiasCorrectedTemperature.fit(2 * z + BIAS, y, ridge=1e9), Temperature.fit(2 * z + BIAS, y)
    torch.testing.assert_close(stiff(z), plain(z), rtol=1e-3, atol=1e-3)
    assert nll(BiasCorrectedTemperature.fit(2 * z + BIAS, y)(2 * z + BIAS), y) < nll(plain(2 * z + BIAS), y)


def test_a_class_without_rows_keeps_a_finite_bias() -> None:
    z, y = sampled()
    z, y = z[y < 4], y[y < 4]
    fitted = BiasCorrectedTemperature.fit(z, y, torch.ones(5, dtype=torch.bool))
    assert fitted.biases[4] > -30


def test_absent_classes_move_as_the_largest_seen_logits_do() -> None:
    z, y, seen = toys.logits(n=800)
    z, y = z[seen[y]], y[seen[y]]
    fitted = BiasCorrectedTemperature.fit(z, y, seen)

    def gap(logits: torch.Tensor) -> torch.Tensor:
        """Mean margin to the absent classes, of the largest seen logit and of the largest but the row's own."""
        others = logits.scatter(1, y[:, None], -torch.inf)
        return (logits[:, seen].amax(1) + others[:, seen].amax(1)).mean() / 2 - logits[:, ~seen].amax(1).mean()

    torch.testing.assert_close(gap(fitted(z)), gap(z) / fitted.temperature, rtol=1e-4, atol=1e-4)


def test_fewer_rows_than_numbers_are_refused() -> None:
    z, y = sampled(n=4)
    with pytest.raises(BadInput, match="cannot be fitted to 4 rows; the safer method here is temperature"):
        BiasCorrectedTemperature.fit(z, y, torch.ones(5, dtype=torch.bool))


def test_it_divides_and_shifts_each_class_and_all_absent_ones_alike() -> None:
    z = sampled(n=30, c=4)[0]
    made = BiasCorrectedTemperature(2.0, (1.0, -3.0), 0.5, Fitted((True, False, True, False), ("a", "b", "c", "d")))
    expected = torch.stack([z[:, 0] / 2 + 1, z[:, 1] / 2 + 0.5, z[:, 2] / 2 - 3, z[:, 3] / 2 + 0.5], dim=1)
    torch.testing.assert_close(made(z), expected)
    torch.testing.assert_close(made.affine(("c", "d", "x", "a"))(z[:, [2, 3, 1, 0]]), expected[:, [2, 3, 1, 0]])
    with pytest.raises(BadInput, match="bias-corrected temperature is for 4 classes"):
        made(z[:, :3])


def test_a_ridge_that_is_given_is_the_one_that_is_told() -> None:
    z, y = sampled(n=500)
    told = BiasCorrectedTemperature.fit(z, y, ridge=0.25).fitted.details
    assert told["ridge"] == 0.25 and told["temperature"] == pytest.approx(Temperature.fit(z, y).temperature)
