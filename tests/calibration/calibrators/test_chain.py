"""Chains: the composition of their steps."""

import pytest
import torch
from torch import Tensor

from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput
from tests import toys


def make(seen: Tensor) -> Chain:
    return Chain((LogitOffset(1.5, tuple(seen.tolist())), LogitOffset(0.75, tuple(seen.tolist()))))


def test_it_is_one_step_after_the_other() -> None:
    z, _, seen = toys.logits()
    chain = make(seen)
    assert torch.equal(chain(z), chain.steps[1](chain.steps[0](z)))


def test_affine_maps_compose_as_functions_do() -> None:
    z = torch.randn(9, 4)
    maps = [
        Affine(torch.randn(4), torch.randn(4)),
        Affine(torch.randn(4, 4), torch.randn(4)),
        Affine(torch.randn(4), torch.randn(4)),
        Affine(torch.randn(4, 4), torch.randn(4)),
    ]

    def apply(a: Affine, x: Tensor) -> Tensor:
        return (x * a.scale if a.scale.ndim == 1 else x @ a.scale.T) + a.shift

    for first in maps:
        for second in maps:
            torch.testing.assert_close(apply(first.then(second), z), apply(second, apply(first, z)))


def test_an_empty_chain_and_one_that_is_not_affine_are_refused() -> None:
    with pytest.raises(BadInput, match="at least one"):
        Chain(())
    with pytest.raises(BadInput, match="not affine"):
        Chain((torch.relu,)).affine()  # type: ignore[arg-type]
