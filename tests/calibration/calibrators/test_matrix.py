"""Matrix scaling: free, it can only be better on its rows; stiff, it is a diagonal map."""

import pytest
import torch

from reclaim.calibration.calibrators.matrix import Matrix
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.calibrators.vector import Vector
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests.calibration.reference import nll, recorded, sampled

MIX = torch.eye(5) + 0.3 * torch.randn(5, 5, generator=torch.Generator().manual_seed(3))


def test_a_mixture_put_in_is_taken_out() -> None:
    z, y = sampled(n=20_000)
    mixed = z @ torch.linalg.inv(MIX).T
    fitted = Matrix.fit(mixed, y)
    assert nll(fitted(mixed), y) == pytest.approx(nll(z, y), abs=2e-3)
    centred = fitted.weights - fitted.weights.mean(dim=0)  # a number added to a column changes no probability
    torch.testing.assert_close(centred, MIX - MIX.mean(dim=0), rtol=0, atol=0.1)


def test_without_penalties_the_gradient_is_zero_and_it_is_no_worse_than_vector() -> None:
    z, y = sampled(n=2000)
    z = z @ MIX
    free = Matrix.fit(z, y, off_diagonal=0.0, intercept=0.0)
    miss = free(z.double()).softmax(dim=1) - torch.nn.functional.one_hot(y, 5)
    assert float((miss.T @ z.double() / len(y)).abs().max()) < 1e-3
    assert nll(free(z), y) <= nll(Vector.fit(z, y, ridge=0.0)(z), y) + 1e-6


def test_endless_penalties_leave_a_diagonal_map() -> None:
    z, y = sampled(n=2000)
    stiff = Matrix.fit(z, y, off_diagonal=1e9, intercept=1e9)
    off = stiff.weights - torch.diag(stiff.weights.diagonal())
    assert float(off.abs().max()) < 1e-4
    assert max(abs(bias) for bias in stiff.biases) < 1e-4
    assert float(stiff.weights.diagonal().std()) > 1e-4  # the diagonal itself is free


@pytest.mark.parametrize("n", [30, 100])
def test_few_rows_leave_it_near_the_temperature(n: int) -> None:
    z, y = sampled(n=4000 + n, c=10)
    seen = torch.ones(10, dtype=torch.bool)
    losses = [nll(method.fit(2 * z[:n], y[:n], seen)(2 * z[n:]), y[n:]) for method in (Matrix, Temperature)]
    assert losses[0] < losses[1] + 0.05


@pytest.mark.real
def test_a_real_network_is_better_for_it_on_rows_it_has_not_seen() -> None:
    z, y = recorded("lenet5_c10")
    losses = [nll(method.fit(z[:5000], y[:5000])(z[5000:]), y[5000:]) for method in (Matrix, Vector)]
    assert losses[0] < losses[1]


def test_it_mixes_the_seen_logits_and_scales_and_shifts_all_absent_ones_alike() -> None:
    z = sampled(n=30, c=4)[0]
    fitted = Fitted((True, False, True, False), ("a", "b", "c", "d"))
    made = Matrix(torch.tensor([[2.0, -0.3], [0.1, 0.5]]), (1.0, -3.0), (0.7, 0.1), fitted)
    first, third = 2 * z[:, 0] - 0.3 * z[:, 2] + 1, 0.1 * z[:, 0] + 0.5 * z[:, 2] - 3
    expected = torch.stack([first, 0.7 * z[:, 1] + 0.1, third, 0.7 * z[:, 3] + 0.1], dim=1)
    torch.testing.assert_close(made(z), expected)
    torch.testing.assert_close(made.affine(("c", "d", "x", "a"))(z[:, [2, 3, 1, 0]]), expected[:, [2, 3, 1, 0]])
    with pytest.raises(BadInput, match="this matrix is for 4 classes"):
        made(z[:, :3])
    told = Matrix.fit(*sampled(n=300), off_diagonal=0.25, intercept=0.75).fitted.details
    assert (told["off_diagonal"], told["intercept"]) == (0.25, 0.75)
