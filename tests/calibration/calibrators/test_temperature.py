"""Temperature: one convex problem, solved to the end."""

import pytest
import torch

from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.fitting.temperature import slope
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Rows
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.confidence import confidence
from tests import toys
from tests.calibration.reference import nll, recorded, sampled

EVERY_CLASS = torch.ones(5, dtype=torch.bool)


def test_at_the_optimum_the_mean_logit_is_that_of_the_label() -> None:
    z, y = sampled()
    fitted = Temperature.fit(3 * z, y)
    p = fitted((3 * z).double()).softmax(dim=1)
    residual = (p * 3 * z).sum(dim=1).mean() - (3 * z).gather(1, y[:, None]).mean()
    assert abs(float(residual)) < 1e-6
    assert abs(fitted.fitted.details["gradient"]) < 1e-6


def test_what_is_calibrated_keeps_its_temperature_and_scaled_logits_scale_it() -> None:
    z, y = sampled(n=40_000)
    one = Temperature.fit(z, y).temperature
    assert one == pytest.approx(1, abs=0.02)
    assert Temperature.fit(7 * z, y).temperature == pytest.approx(7 * one, rel=1e-5)


def test_single_and_double_precision_agree() -> None:
    z, y = sampled(n=60_000, c=10)
    single, double = Temperature.fit(z, y), Temperature.fit(z.double(), y)
    assert single.temperature == pytest.approx(double.temperature, rel=1e-6)
    assert Temperature.fit(z[:500], y[:500]).temperature == pytest.approx(
        Temperature.fit(z[:500].double(), y[:500]).temperature, rel=1e-6
    )


def test_the_slopes_are_the_derivatives() -> None:
    z, y = sampled()
    rows = Rows(z.double(), y, EVERY_CLASS)
    here, up, down = slope(rows, 0.7), slope(rows, 0.7 + 1e-4), slope(rows, 0.7 - 1e-4)
    assert here.nll == pytest.approx(nll(0.7 * z.double(), y), abs=1e-9)
    assert here.first == pytest.approx((up.nll - down.nll) / 2e-4, rel=1e-5)
    assert here.second == pytest.approx((up.first - down.first) / 2e-4, rel=1e-5)


def test_rows_that_are_all_right_give_a_sane_confidence() -> None:
    y = torch.arange(100) % 5
    z = torch.nn.functional.one_hot(y, 5) * 0.3 + 0.01 * torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    fitted = Temperature.fit(z, y)
    assert "every row is right" in fitted.fitted.details["note"]
    assert nll(fitted(z), y) == pytest.approx(1 / 101, rel=1e-3)


def test_rows_worse_than_chance_become_nearly_uniform() -> None:
    z, y = sampled()
    fitted = Temperature.fit(-z, y)
    assert "worse than chance" in fitted.fitted.details["note"]
    torch.testing.assert_close(fitted(-z).softmax(dim=1), torch.full_like(z, 0.2), rtol=0, atol=1e-3)


def test_logits_that_are_all_equal_are_left_alone() -> None:
    fitted = Temperature.fit(torch.ones(10, 3), torch.arange(10) % 3)
    assert fitted.temperature == 1 and "nothing to scale" in fitted.fitted.details["note"]


def test_absent_columns_are_not_read() -> None:
    z, y, seen = toys.logits()
    z, y = z[seen[y]], y[seen[y]]
    alone = Temperature.fit(z[:, seen], (seen.cumsum(0) - 1)[y])
    for shift in (-100.0, 0.0, 100.0):
        moved = torch.where(seen, z, z + shift)
        assert Temperature.fit(moved, y, seen).temperature == pytest.approx(alone.temperature, rel=1e-6)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "temperature", "loss", "error"),
    [
        ("wrn16_4_c10", 2.0592, 0.2704, 0.0069),
        ("lenet5_c10", 1.3736, 1.3260, 0.0224),
        ("wrn16_4_c100", 1.1099, 0.9347, 0.0436),
        ("lenet5_c100", 1.1071, 3.8146, 0.0137),
    ],
)
def test_the_recorded_networks_have_their_known_temperatures(
    name: str, temperature: float, loss: float, error: float
) -> None:
    z, y = recorded(name)
    fitted = Temperature.fit(z[:5000], y[:5000])
    found = confidence(fitted(z[5000:]), y[5000:])
    assert fitted.temperature == pytest.approx(temperature, abs=6e-5)
    assert found.nll == pytest.approx(loss, abs=6e-5)
    assert found.ece == pytest.approx(error, abs=6e-5)


def test_it_divides_all_logits_and_so_does_its_affine_map_over_other_classes() -> None:
    made = Temperature(4.0, Fitted((True, False, True), ("a", "b", "c")))
    z = torch.tensor([[4.0, -8.0, 2.0]])
    assert made(z).tolist() == [[1.0, -2.0, 0.5]] and made(z.double()).dtype == torch.float64
    other = made.affine(("c", "d", "a", "b"))
    assert (other.scale.tolist(), other.shift.tolist()) == ([0.25] * 4, [0.0] * 4)
    for wrong in (z[:, :2], torch.cat([z, z], dim=1), z[0]):
        with pytest.raises(BadInput, match="this temperature is for 3 classes"):
            made(wrong)
