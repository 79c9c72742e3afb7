"""Layers inside a network answer by their names."""

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.models.layers import answers_within, layer_names
from tests import toys


def test_a_layer_answers_what_it_computes_in_evaluation_mode() -> None:
    model, x = toys.classifier(), torch.randn(4, 3)
    model.module.train()
    found = answers_within(model, x, ["first", "head"])
    net = model.module
    assert list(found) == ["first", "head"] and net.training
    torch.testing.assert_close(found["first"], net.first(x))
    torch.testing.assert_close(found["head"], net.eval()(x))
    assert layer_names(model) == ("first", "norm", "drop", "head")


def test_of_a_record_the_first_tensor_is_taken_and_what_is_changed_in_place_is_not() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(inplace=True), torch.nn.Linear(4, 5))
    model, x = toys.classifier(module=net), torch.randn(6, 3)
    found = answers_within(model, x, ["0"])["0"]
    torch.testing.assert_close(found, net[0](x))
    assert found.min() < 0
    towers = toys.towers()
    x = towers.inputs(torch.randn(3).numpy(), torch.randn(3).numpy())
    assert answers_within(towers, x, ["norm"])["norm"].shape == (2, 10)


def test_a_layer_that_is_not_there_or_does_not_run_is_named() -> None:
    with pytest.raises(BadInput, match=r"no layer of .* called 'frist'; there are: first, norm, drop, head. Did you"):
        answers_within(toys.classifier(), torch.randn(2, 3), ["frist"])
    idle = torch.nn.Sequential(torch.nn.Linear(3, 5))
    idle[0].idle = torch.nn.Linear(1, 1)
    with pytest.raises(BadInput, match=r"without answers of the layers 0.idle"):
        answers_within(toys.classifier(module=idle), torch.randn(2, 3), ["0", "0.idle"])
