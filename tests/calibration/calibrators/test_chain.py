"""Chains: the composition of their steps."""

import pytest
import torch
from torch import Tensor

from reclaim.calibration.calibrators.beta import Beta
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


def test_three_steps_go_in_their_order_and_the_last_is_the_one_whose_rows_are_told() -> None:
    names = ("a", "b", "c")
    parts = [Fitted((True, False, True), names, f"d:{i}", {"i": i}, f"model {i}", (f"row {i}",)) for i in range(3)]
    chain = Chain((LogitOffset(1.5, parts[0]), Temperature(2.0, parts[1]), LogitOffset(4.0, parts[2])))
    assert chain.fitted == Fitted((True, False, True), names, "d:2", {}, "model 2", ("row 2",))
    z = torch.tensor([[1.0, 2.0, 3.0]])
    assert chain(z).tolist() == [[0.5, 5.75, 1.5]]
    affine = chain.affine()
    assert affine is not None and (affine.scale.tolist(), affine.shift.tolist()) == ([0.5] * 3, [0.0, 4.75, 0.0])
    other = chain.affine(("c", "x", "a", "b"))
    assert other is not None and other.shift.tolist() == [0.0, 4.75, 0.0, 4.75]
    bare = Chain(tuple(LogitOffset(offset, Fitted((True, False))) for offset in (1.0, 2.0)))
    assert bare.affine().shift.tolist() == [0.0, 3.0]


def test_later_steps_find_their_classes_by_name() -> None:
    first = LogitOffset(1.0, Fitted((True, False, False), ("a", "b", "c")))
    second = LogitOffset(10.0, Fitted((False, True, True), ("c", "a", "b")))  # to which b is no absent class
    chain, z = Chain((first, second)), torch.zeros(1, 3)
    assert chain(z).tolist() == [[0.0, 1.0, 11.0]] and chain.affine().shift.tolist() == [0.0, 1.0, 11.0]


def test_steps_for_other_numbers_of_classes_are_refused_and_one_step_is_a_chain() -> None:
    two, three = LogitOffset(1.0, Fitted((True, False))), LogitOffset(1.0, Fitted((True, False, True)))
    with pytest.raises(BadInput, match="for other numbers of classes: 2, 3"):
        Chain((three, two))
    assert Chain((two,))(torch.zeros(1, 2)).tolist() == [[0.0, 1.0]]


def test_it_keeps_the_order_if_every_step_does() -> None:
    z, y, _ = toys.logits(sunk=0.0)
    keeps, not_ = Temperature.fit(z, y), Beta.fit(z, y)
    assert Chain((keeps, keeps)).keeps_order
    for steps in ((keeps, not_), (not_, keeps), (not_,)):
        assert not Chain(steps).keeps_order
