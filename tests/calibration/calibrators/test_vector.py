"""Vector scaling: a convex problem with a ridge towards temperature."""

import pytest
import torch

from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.calibrators.vector import Vector
from reclaim.calibration.fitting.affine import fit_diagonal
from reclaim.calibration.fitting.penalties import scaled
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Rows
from reclaim.core.errors import BadInput
from tests.calibration.reference import nll, recorded, sampled

FACTORS, BIASES = torch.tensor([2.0, 1.0, 1.5, 3.0, 1.2]), torch.tensor([1.0, -0.5, 0.0, 0.3, -0.8])


def test_factors_and_biases_put_in_are_taken_out() -> None:
    z, y = sampled(n=40_000)
    distorted = (z - BIASES) / FACTORS
    fitted = Vector.fit(distorted, y)
    torch.testing.assert_close(torch.tensor(fitted.weights), FACTORS, rtol=0.06, atol=0)
    assert nll(fitted(distorted), y) == pytest.approx(nll(z, y), abs=1e-3)


def test_at_the_optimum_without_a_ridge_the_gradient_is_zero() -> None:
    z, y = sampled()
    fitted = Vector.fit(z / FACTORS, y, ridge=0.0)
    miss = fitted((z / FACTORS).double()).softmax(dim=1) - torch.nn.functional.one_hot(y, 5)
    assert float(miss.mean(dim=0).abs().max()) < 1e-5
    assert float((miss * z).mean(dim=0).abs().max()) < 1e-5
    assert fitted.fitted.details["converged"]


def test_an_endless_ridge_leaves_the_temperature() -> None:
    z, y = sampled()
    torch.testing.assert_close(Vector.fit(z, y, ridge=1e9)(z), Temperature.fit(z, y)(z), rtol=1e-3, atol=1e-3)


def test_the_ridge_pulls_as_its_formula_says() -> None:
    z, y = sampled(n=300)
    rows = Rows(z.double(), y, torch.ones(5, dtype=torch.bool))
    found = fit_diagonal(scaled(rows, 1.0), 5, 0.4)

    def objective(w: torch.Tensor, b: torch.Tensor) -> float:
        return nll(w * z.double() + b, y) + 0.4 * float(((w - 1).square() + b.square()).mean())

    best = objective(found.scale, found.shift)
    for index in range(5):
        step = 1e-3 * torch.eye(5, dtype=torch.float64)[index]
        for moved in ((step, 0 * step), (-step, 0 * step), (0 * step, step), (0 * step, -step)):
            assert objective(found.scale + moved[0], found.shift + moved[1]) > best


def test_fewer_rows_than_numbers_are_refused() -> None:
    z, y = sampled(n=9)
    with pytest.raises(BadInput, match=r"10 numbers \(2 for each of 5 seen classes\) cannot be fitted to 9 rows"):
        Vector.fit(z, y, torch.ones(5, dtype=torch.bool))


@pytest.mark.real
@pytest.mark.parametrize("name", ["wrn16_4_c10", "wrn16_4_c100"])
def test_real_networks_are_better_for_it_on_rows_it_has_not_seen(name: str) -> None:
    z, y = recorded(name)
    losses = [nll(method.fit(z[:5000], y[:5000])(z[5000:]), y[5000:]) for method in (Vector, Temperature)]
    assert losses[0] < losses[1]


def test_it_scales_and_shifts_each_class_and_all_absent_ones_alike() -> None:
    z = sampled(n=30, c=4)[0]
    made = Vector((2.0, 0.5), (1.0, -3.0), (0.7, 0.1), Fitted((True, False, True, False), ("a", "b", "c", "d")))
    expected = torch.stack([2 * z[:, 0] + 1, 0.7 * z[:, 1] + 0.1, z[:, 2] / 2 - 3, 0.7 * z[:, 3] + 0.1], dim=1)
    torch.testing.assert_close(made(z), expected)
    torch.testing.assert_close(made.affine(("c", "d", "x", "a"))(z[:, [2, 3, 1, 0]]), expected[:, [2, 3, 1, 0]])
    with pytest.raises(BadInput, match="this vector is for 4 classes"):
        made(z[:, :3])
    assert Vector.fit(*sampled(n=300), ridge=0.25).fitted.details["ridge"] == 0.25
