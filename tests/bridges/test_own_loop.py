"""A loop of one's own: the seam that the callbacks use, by hand."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from reclaim.bridges.own_loop import Measured, OwnLoop
from reclaim.core.errors import BadInput
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from tests import toys
from tests.wrapping import Plain, rows, trained

SEEN = [0, 2, 3]
CHOICES = Choices(mix=0.6, select="gap-matching")


def tuned(loop: OwnLoop, network: Any) -> None:
    x, y = rows("train")
    steps = torch.optim.AdamW(network.parameters(), lr=0.02)
    loop.begin(x[:2], steps)
    for _ in range(20):
        steps.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        steps.step()


@pytest.mark.parametrize("bias", [True, False])
def test_a_loop_by_hand_ends_with_the_repair_of_start_and_end(bias: bool) -> None:
    network = trained(Plain(bias=bias), every=True, steps=60)
    start = copy.deepcopy(network)
    loop = OwnLoop(network, SEEN, choices=CHOICES)
    tuned(loop, network)
    assert loop.head == "head"
    assert torch.equal(network.head.weight[~toys.SEEN], start.head.weight[~toys.SEEN])
    end = copy.deepcopy(network)
    done = loop.end(rows("test"))
    expected = repair(start, end, rows("test"), CHOICES, seen=SEEN)
    assert toys.same(network.state_dict(), expected.model.state_dict()) and loop.repaired is done
    with torch.no_grad():
        network(rows("test")[0])


def test_accuracies_are_counted_by_group_and_rows_without_a_label_left_out() -> None:
    network = Plain()
    loop = OwnLoop(network, ["ant", "cat", "dog"], classes=toys.CLASSES)
    loop.begin(rows("train")[0][:2])
    z = torch.eye(5)
    loop.count(z, torch.tensor([0, 1, 2, 4, -100]))  # seen: both right; absent: one of two
    loop.count(z[:1], torch.tensor([2]))
    assert loop.measured(7) == Measured(7, 2 / 3, 1 / 2)
    assert loop.measured(8) == Measured(8, None, None)
    assert loop.history[1].record("eval_") == {
        "eval_seen_accuracy": "not measured",
        "eval_absent_accuracy": "not measured",
    }


def test_names_that_do_not_fit_are_refused() -> None:
    x = rows("train")[0][:2]
    with pytest.raises(BadInput, match="2 class names were given, and the head 'head' answers 5"):
        OwnLoop(Plain(), [0], classes=["a", "b"]).begin(x)
    with pytest.raises(BadInput, match="`seen` names classes that the network has not: fox"):
        OwnLoop(Plain(), ["fox"], classes=toys.CLASSES).begin(x)
    with pytest.raises(BadInput, match="no linear layer"):
        OwnLoop(Plain(), [0], head="tail")
