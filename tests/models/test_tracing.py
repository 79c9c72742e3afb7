"""The head: the layer whose outputs become the logits, wherever it is registered and whatever comes after it."""

import copy
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.data.inputs.arrays import AsTensors
from reclaim.models.checkpoint import save_weights
from reclaim.models.head import find_head, head_or_guess, settled
from reclaim.models.loading import from_factory, wrapped
from reclaim.models.tracing import NoHead, check_head, linear_layers, trace_head
from reclaim.repairs.models import repair
from tests import toys

X = torch.randn(2, 3)


class Tail(nn.Module):
    """A head registered first, hidden layers of as many outputs, and something after the head."""

    def __init__(self, tail: Callable[[Tensor], Tensor], outputs: int = 5) -> None:
        super().__init__()
        self.head = nn.Linear(outputs, outputs, bias=False)
        self.hidden = nn.Linear(3, outputs)
        self.tail = tail

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.head(torch.relu(self.hidden(x))))


@pytest.mark.parametrize(
    "tail",
    [
        lambda z: z,
        lambda z: z.clone(),
        lambda z: z.relu_(),
        lambda z: z.relu(),
        lambda z: 0.1 * z + 3,
        lambda z: z.log_softmax(dim=1),
        lambda z: z.softmax(dim=1),
        lambda z: z.view(len(z), -1).double(),
        lambda z: z - z.mean(dim=1, keepdim=True),
    ],
    ids=["nothing", "copy", "in place", "relu", "scale", "log-softmax", "softmax", "double", "centred"],
)
def test_the_head_is_found_through_what_comes_after_it(tail: Callable[[Tensor], Tensor]) -> None:
    assert trace_head(Tail(tail), X) == "head"
    assert find_head(Tail(tail)) == "head"


def test_two_classes_through_a_softmax_have_a_head() -> None:
    assert trace_head(Tail(lambda z: z.softmax(dim=1), 2), X) == "head"


def test_other_heads_that_are_registered_and_called_last_are_passed_over() -> None:
    assert list(linear_layers(toys.Heads()))[-1] == "projection.2"
    assert trace_head(toys.Heads(), X) == "head"


def test_equal_outputs_of_another_head_are_no_reason() -> None:
    """Heads that start at zero answer the same; what one of them answers becomes the logits."""
    net = toys.Heads()
    for layer in (net.head, net.auxiliary):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert trace_head(net, X) == "head"


def test_a_head_over_positions_is_found() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Linear(3, 4)
            self.after = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            f = x[:, None, :].expand(-1, 6, -1)
            z = self.score(f)[:, -1]
            self.after(f)
            return z

    assert trace_head(Last(), X) == "score"


def test_mappings_and_records_are_traced() -> None:
    assert trace_head(toys.Towers(), {"left": torch.randn(1, 2), "right": torch.randn(1, 1)}) == "head"


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze()


class Squeezed(nn.Module):
    """Squeezes its answer, so that one row alone would lose its dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv2d(3, 5, 1)
        self.projection = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x[:, :, None, None]).squeeze()


def test_a_network_that_squeezes_its_answer_is_traced_on_two_rows() -> None:
    assert head_or_guess(nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), Squeeze())) == ("0", False)
    net = Squeezed()
    model = replace(toys.classifier(), module=net, head="projection", guessed=True)
    found = settled(model, toys.data())
    assert (found.head, found.guessed) == ("score", False)
    done = repair(net, copy.deepcopy(net), (torch.randn(60, 3), torch.arange(60) % 5), seen=[0, 1, 2])
    assert isinstance(done.model, Squeezed)


def test_the_last_of_two_heads_in_a_row_is_the_head() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 5))
    assert trace_head(net, X) == "2"


def test_dropout_in_other_modes_is_neither_drawn_nor_changed() -> None:
    net = Tail(lambda z: z).train()
    drawn = torch.random.get_rng_state()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    trace_head(net, X)
    assert net.training and torch.equal(torch.random.get_rng_state(), drawn)
    assert toys.same(net.state_dict(), kept) and not net.head._forward_hooks


class Prototypes(nn.Module):
    """Distances to prototypes: no layer answers the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.unused = nn.Linear(3, 6)
        self.prototypes = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(self.embed(x), self.prototypes)


def test_a_network_without_a_head_names_the_layers_considered() -> None:
    with pytest.raises(NoHead, match=r"(?s)6 logits.*: unused \(6 outputs, not called\), embed \(4 outputs"):
        trace_head(Prototypes(), X)
    with pytest.raises(BadInput, match="Name it: head="):
        find_head(Prototypes())
    with pytest.raises(BadInput, match="no linear last layer"):
        find_head(nn.Sequential(nn.ReLU()))


def test_a_named_head_must_be_one_of_the_layers() -> None:
    assert check_head(toys.Heads(), "auxiliary") == "auxiliary"
    with pytest.raises(BadInput, match=r"called 'heed'; there are: first, head, auxiliary, .*Did you mean 'head'"):
        check_head(toys.Heads(), "heed")


class Wants(nn.Module):
    """Takes the inputs of `Towers` as a mapping, and has a projection head registered last."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = toys.Towers()
        self.projection = nn.Linear(10, 5)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.towers(left, right).logits


def test_where_no_input_can_be_made_up_the_guess_is_said_and_data_correct_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert head_or_guess(Wants(), AsTensors()) == ("projection", True)
    assert "projection, the last of: projection, towers.head" in caplog.text and "the argument `head`" in caplog.text
    model = replace(toys.classifier(module=toys.Net()), module=Wants(), head="projection", preprocess=AsTensors())
    data = toys.in_two(toys.data())
    found = settled(replace(model, guessed=True), data)
    assert (found.head, found.guessed) == ("towers.head", False)
    assert settled(model, data).head == "projection"  # named, and kept


class Scaled(nn.Module):
    """Logarithms of its inputs, and a scale of the logits that starts at 0: noise shows no head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)
        self.projection = nn.Linear(3, 5)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.head(x.exp().log())


def test_untrained_weights_are_no_reason_to_refuse_and_data_show_the_head(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = Scaled()
    nn.init.ones_(trained.scale)
    save_weights(tmp_path / "w.safetensors", trained.state_dict())
    with caplog.at_level(logging.WARNING):
        model = from_factory(Scaled, tmp_path / "w.safetensors", None, library="plain", name="scaled")
    assert (model.head, model.guessed) == ("projection", True) and "shows no head on inputs" in caplog.text
    found = settled(replace(model, preprocess=AsTensors()), toys.data())
    assert (found.head, found.guessed) == ("head", False)
    none = wrapped(Prototypes(), library="plain", name="prototypes", preprocess=AsTensors())
    with pytest.raises(NoHead, match="6 logits"):
        settled(none, toys.data())


def test_a_head_that_is_given_is_no_guess() -> None:
    model = replace(toys.classifier(module=toys.Heads()), head="projection.2", guessed=True)
    assert wrapped(model, library="plain", name="heads").guessed
    named = wrapped(model, "head", library="plain", name="heads")
    assert (named.head, named.guessed) == ("head", False)


@pytest.mark.parametrize(
    ("net", "head"),
    [
        (nn.Sequential(nn.Conv2d(4, 3, 3), nn.Flatten(), nn.LazyLinear(5)), "2"),
        (nn.Sequential(nn.Conv1d(2, 3, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 5)), "3"),
        (nn.Sequential(nn.EmbeddingBag(9, 3), nn.Linear(3, 5)), "1"),
        (nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 5)), "1"),
        (nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 5)), "1"),
    ],
)
def test_inputs_are_made_up_of_what_the_first_layer_says(net: nn.Module, head: str) -> None:
    assert find_head(net) == head
