"""Chains: the composition of their steps."""

import pytest
import torch
from torch import Tensor

from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.calibrators.spline import Spline
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.protocol import Fitted, as_affine
from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput
from tests import toys


def make(seen: Tensor) -> Chain:
    return Chain(tuple(LogitOffset(offset, Fitted(tuple(seen.tolist()))) for offset in (1.5, 0.75)))


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


def test_one_step_that_is_not_affine_makes_a_chain_that_is_not() -> None:
    z, y, seen = toys.logits(sunk=0.0)
    bent = Chain((*make(seen).steps, Spline.fit(z, y)))
    assert as_affine(make(seen)) is not None
    assert as_affine(bent) is None and as_affine(Chain((bent,))) is None


def test_it_has_the_classes_of_its_first_step_and_the_origin_of_its_last() -> None:
    first = LogitOffset(1.5, Fitted((True, False), ("a", "b"), "d:val"))
    chain = Chain((first, Temperature(2.0, Fitted((True, False), ("a", "b"), "d:test", {"nll": 1.0}))))
    assert chain.fitted == Fitted((True, False), ("a", "b"), "d:test")


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(BadInput, match="at least one"):
        Chain(())
