"""Dirichlet calibration: matrix scaling of log-probabilities, without a special class."""

import pytest
import torch

from reclaim.calibration.calibrators.dirichlet import Dirichlet
from reclaim.calibration.calibrators.matrix import Matrix
from reclaim.calibration.protocol import Fitted
from tests import toys
from tests.calibration.reference import sampled


def test_it_is_the_matrix_of_log_probabilities() -> None:
    z, y = sampled(n=1000)
    log_p = z.log_softmax(dim=1)
    one = Dirichlet.fit(z, y, off_diagonal=0.1, intercept=0.1)(z).softmax(dim=1)
    other = Matrix.fit(log_p, y, off_diagonal=0.1, intercept=0.1)(log_p).softmax(dim=1)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


def test_a_constant_added_to_a_row_changes_nothing() -> None:
    z, y = sampled(n=1000)
    shift = torch.linspace(-5, 5, 1000)[:, None]
    one, other = (Dirichlet.fit(x, y, off_diagonal=0.1, intercept=0.1)(x) for x in (z, z + shift))
    torch.testing.assert_close(one.softmax(dim=1), other.softmax(dim=1), rtol=0, atol=1e-4)


def test_endless_penalties_leave_a_diagonal_map_of_all_classes() -> None:
    z, y = sampled(n=1000)
    stiff = Dirichlet.fit(z, y, off_diagonal=1e9, intercept=1e9)
    assert float((stiff.weights - torch.diag(stiff.weights.diagonal())).abs().max()) < 1e-4
    assert float(stiff.weights.diagonal().min()) > 0.5


def test_the_margin_between_the_groups_is_scaled_and_nothing_else() -> None:
    z, y, seen = toys.logits(n=600)
    rows = seen[y]
    fitted = Dirichlet.fit(z[rows], y[rows], seen)
    before, after = (toys.group_margin(logits, seen) for logits in (z, fitted(z)))
    torch.testing.assert_close(after, fitted.scale * before, rtol=1e-4, atol=1e-4)
    assert fitted.scale == pytest.approx(1 / fitted.fitted.details["temperature"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_it_mixes_logarithmic_probabilities_of_seen_classes(dtype: torch.dtype) -> None:
    z = sampled(n=30, c=4)[0].to(dtype)
    made = Dirichlet(torch.tensor([[2.0, -0.3], [0.1, 0.5]]), (1.0, -3.0), 0.8, Fitted((True, False, True, False)))
    p = z[:, [0, 2]].double().softmax(dim=1).log()
    first, second = 2 * p[:, 0] - 0.3 * p[:, 1] + 1, 0.1 * p[:, 0] + 0.5 * p[:, 1] - 3
    gap, near = made(z).double()[:, 0] - made(z).double()[:, 2], 0.02 if dtype == torch.float16 else 1e-6
    torch.testing.assert_close(gap, first - second, rtol=near, atol=near)
    torch.testing.assert_close(made(z)[:, ~torch.tensor(made.fitted.seen)], (0.8 * z[:, [1, 3]]).to(dtype))
    told = Dirichlet.fit(*sampled(n=300), off_diagonal=0.25, intercept=0.75).fitted.details
    assert (told["off_diagonal"], told["intercept"]) == (0.25, 0.75)
