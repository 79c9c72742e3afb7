"""Running a network: tensors and mappings in, tensors, mappings and records out."""

from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.models.forward import evaluating, logits_in, logits_of

Z = torch.randn(4, 3)


@dataclass
class Record:
    logits: Tensor
    hidden: Tensor | None = None


class Outputs(NamedTuple):
    aux: Tensor | None
    logits: Tensor


class Sum(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Any:
        return Record(left + right)


@pytest.mark.parametrize(
    "answer",
    [Z, {"logits": Z, "loss": 1}, UserDict(logits=Z), Record(Z), Outputs(None, Z)],
    ids=["tensor", "dictionary", "mapping", "record", "named tuple"],
)
def test_the_logits_of_every_kind_of_answer_are_found(answer: Any) -> None:
    assert logits_in(answer) is Z


@pytest.mark.parametrize(
    ("answer", "given"),
    [(Z[0], r"\[3\]"), ({"loss": Z}, "dict"), ((Z, Z), "tuple"), (Record(Z[None]), r"\[1, 4, 3\]"), (None, "NoneType")],
)
def test_an_answer_without_logits_is_refused(answer: Any, given: str) -> None:
    with pytest.raises(BadInput, match=rf"answers logits \[rows, classes\]; this network answers {given}"):
        logits_in(answer)


def test_a_mapping_is_given_by_name() -> None:
    x = {"right": Z, "left": 2 * Z}
    assert torch.equal(logits_of(Sum(), x), 3 * Z)


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 4, "four dimensions"
        return x.mean((1, 2, 9))


@pytest.mark.parametrize(("shape", "why"), [((2, 3), "four dimensions"), ((2, 3, 4, 4), "Dimension out of range")])
def test_whatever_a_network_raises_of_its_inputs_is_one_message(shape: tuple[int, ...], why: str) -> None:
    with pytest.raises(BadInput, match=f"cannot take inputs of shape .*: {why}"):
        logits_of(Picky(), torch.zeros(shape))


def test_what_the_network_cannot_take_is_shown() -> None:
    with pytest.raises(BadInput, match=r"cannot take inputs of shape left: \[3\], right: \[2\]"):
        logits_of(Sum(), {"left": Z, "right": Z[:, :2]})
    with pytest.raises(BadInput, match=r"shape up: \[3\]: .*unexpected keyword argument 'up'"):
        logits_of(Sum(), {"up": Z})
    with pytest.raises(BadInput, match=r"shape \[3\]: .*missing 1 required positional argument: 'right'"):
        logits_of(Sum(), Z)


def test_each_part_returns_to_its_own_mode() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2)).train()
    net[0].eval()
    with evaluating(net):
        assert not any(part.training for part in net.modules())
    assert [part.training for part in net] == [False, True, True] and net.training
