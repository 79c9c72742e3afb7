"""Laws that several methods share, each held by its own tests."""

from collections.abc import Callable

import torch
from torch import Tensor

from reclaim.calibration.protocol import Calibrator


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
