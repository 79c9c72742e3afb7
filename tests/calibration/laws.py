"""Laws that several methods share, each held by its own tests."""

from collections.abc import Callable

import torch
from torch import Tensor

from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.protocol import Calibrator
from reclaim.calibration.rows import Rows
from tests.calibration.reference import sampled


def order_stays_and_equal_logits_stay_equal(made: Calibrator, z: Tensor) -> None:
    """In every row of [N, C], half of which are rounded so that many logits are equal."""
    z[::2] = z[::2].round()
    answered = made(z)
    order = z.argsort(dim=1, stable=True)
    before, after = z.gather(1, order).diff(dim=1), answered.gather(1, order).diff(dim=1)
    assert bool((after >= 0).all()) and bool((after[before == 0] == 0).all()) and bool(answered.isfinite().all())
    if z.dtype == torch.float64:
        assert torch.equal(order, answered.argsort(dim=1, stable=True))


def the_seed_alone_decides(fit: Callable[[Tensor, Tensor], Calibrator], z: Tensor, y: Tensor) -> None:
    """Not the state of torch's generator, which stays as it was."""
    torch.manual_seed(1)
    state, first = torch.get_rng_state(), fit(z, y)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(fit(z, y)(z), first(z))


def the_probabilities_are(made: Calibrator, z: Tensor, inside: Tensor, scale: float) -> None:
    """What it makes of [N, C] logits: `inside` [N, K] among seen classes, up to a factor, and the margin scaled."""
    seen, answered = torch.tensor(made.fitted.seen), made(z)
    torch.testing.assert_close(
        answered[:, seen].softmax(dim=1), inside / inside.sum(dim=1, keepdim=True), rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(answered[:, ~seen], scale * z[:, ~seen])
    torch.testing.assert_close(answered[:, seen].amax(dim=1), scale * z[:, seen].amax(dim=1))


def cooled_by_hand(z: Tensor, temperature: float) -> Tensor:
    """The softmax of logits [N, K] divided by a temperature."""
    powers = (z / temperature - (z / temperature).amax(dim=1, keepdim=True)).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def bent_rows(n: int = 600) -> tuple[Rows, Tensor, Tensor, Tensor]:
    """Rows of which classes 0 to 3 of 5 are seen, the fourth without a row, and their logits, labels and seen classes.

    Every class is wrong in its own way.
    """
    z, y = sampled(n=n, c=4)
    z = 2 * z.double() + torch.tensor([0.0, 1.5, -1.0, 0.0])
    z[:, 0] += 0.3 * z[:, 0].abs()
    z, y = z[y < 3], y[y < 3]
    z = torch.cat([z[:, :2], z[:, :1].flip(0) - 1, z[:, 2:]], dim=1)
    seen = torch.tensor([True, True, False, True, True])
    return Rows(z, y, seen), z, seen.nonzero().squeeze(1)[y], seen


def best_temperature(rows: tuple[Tensor, Tensor, Tensor]) -> float:
    """The best single one of logits, labels and seen classes."""
    return Temperature.fit(*rows).temperature
