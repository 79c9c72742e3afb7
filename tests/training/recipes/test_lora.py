"""LoRA: its limits, which layers it takes, and that merging is exact."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from reclaim.core.errors import BadInput
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating
from reclaim.models.head import find_head, first_row
from reclaim.training.adapters import adaptable_layers, adapted, merged, without_fast_path
from reclaim.training.budget import Budget
from reclaim.training.recipes.frozen_backbone import frozen_backbone
from reclaim.training.recipes.lora import lora
from reclaim.training.resume import resuming
from tests import toys

BUDGET = Budget(epochs=3, learning_rate=0.05, batch_size=16)
DATA = toys.data()


def deeper() -> nn.Module:
    """Names that end alike, a layer that is registered and never called, and one called in another order."""
    net = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Sequential(nn.Linear(9, 9), nn.ReLU()), nn.Linear(9, 5))
    net.add_module("0x", nn.Identity())
    net.get_submodule("2").add_module("unused", nn.Identity())
    return net


class Attends(nn.Module):
    """Torch's own transformer layer, over the three numbers as three words."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(1, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 5)
        self.spare = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.up(x[:, :, None])).mean(dim=1))


def test_without_scale_it_trains_the_head_alone() -> None:
    model = toys.classifier()
    expected = frozen_backbone(model, DATA, BUDGET)
    assert toys.same(lora(model, DATA, BUDGET, scale=0.0, mode="eval").weights, expected.weights)


@pytest.mark.parametrize("rank", [1, 2])
def test_weights_change_by_a_matrix_of_that_rank_and_nothing_else_does(rank: int) -> None:
    model = toys.classifier(module=deeper())
    tuned = lora(model, DATA, BUDGET, rank=rank)
    for name in ("0.weight", "2.0.weight"):
        change = torch.linalg.svdvals((tuned.weights[name] - model.weights[name]).double())
        assert change[rank - 1] > 1e-3 and bool((change[rank:] < 1e-6).all())
    for name in ("0.bias", "2.0.bias"):
        assert torch.equal(tuned.weights[name], model.weights[name])


@pytest.mark.parametrize("network", [toys.Net, deeper, Attends, toys.GoesOn, toys.Towers])
def test_training_starts_at_the_given_model_bit_for_bit_and_merging_is_exact(network: Any, monkeypatch) -> None:
    model = toys.classifier(module=network())
    x: Any = torch.randn(4, 3)
    if network is toys.Towers:
        x = {"left": x[:, :2], "right": x[:, 2:]}
    elif network is toys.GoesOn:
        x = torch.randn(4, 1, 6, 6)
    layers = adaptable_layers(model, x)
    fresh, wrapped = adapted(model, layers, rank=4, scale=0.5, dropout=0.1, seed=3)

    def answers(module: nn.Module) -> Tensor:
        with torch.no_grad(), evaluating(module), without_fast_path():
            return module(x) if isinstance(x, Tensor) else module(**x).logits

    start = answers(model.module)
    torch.testing.assert_close(answers(fresh.module), start, rtol=0, atol=0)
    for name, parameter in fresh.module.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    moved = answers(fresh.module)
    assert (moved - start).abs().max() > 1e-3
    done = merged(model, wrapped)
    torch.testing.assert_close(answers(done.module), moved, rtol=1e-5, atol=1e-5)
    assert str(done.module) == str(model.module) and list(done.weights) == list(model.weights)


def test_layers_are_those_that_are_called_whatever_their_names() -> None:
    assert adaptable_layers(toys.classifier(module=deeper()), torch.randn(2, 3)) == ["0", "2.0"]
    assert adaptable_layers(toys.classifier(module=Attends()), torch.randn(2, 3)) == [
        "up",
        "layer.self_attn",
        "layer.linear1",
        "layer.linear2",
    ]
    heads = toys.classifier(module=toys.Heads())
    assert adaptable_layers(heads, torch.randn(2, 3)) == ["first", "auxiliary", "projection.0", "projection.2"]


def convolutions() -> nn.Module:
    """One convolution that peft merges, and three that it does not, or not exactly."""
    tied = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
    tied[1].weight = tied[0].weight
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.Conv2d(6, 6, 3, padding=1, groups=2),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
        weight_norm(nn.Conv2d(6, 6, 1)),
        *tied,
        nn.ConvTranspose2d(6, 6, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )


def test_what_cannot_be_merged_exactly_is_left_out_and_said(caplog) -> None:
    torch.manual_seed(0)
    net = convolutions()
    model = Classifier(net.eval(), find_head(net), classes=toys.CLASSES, name="convolutions")
    data = toys.images()
    with caplog.at_level(logging.WARNING):
        tuned = lora(model, data, replace(BUDGET, learning_rate=0.01))
    (line,) = [record.getMessage() for record in caplog.records]
    for said in (
        *("1 (grouped)", "2 (dilated)", "3 (padded by reflect)", "4 (its weight is made of others)"),
        *("5 (its weight is shared)", "6 (its weight is shared)", "7 (ConvTranspose2d)"),
    ):
        assert said in line
    changed = {name for name, theta in model.weights.items() if not torch.equal(theta, tuned.weights[name])}
    assert changed == {"0.weight", "10.weight", "10.bias"}
    assert adaptable_layers(model, first_row(model, data.seen_only("train"))) == ["0"]


def test_a_network_without_another_layer_is_refused() -> None:
    model = toys.classifier(module=nn.Sequential(nn.Linear(3, 5)))
    with pytest.raises(BadInput, match=r"no layer of .* but its head '0' can have a low-rank adapter"):
        lora(model, DATA, BUDGET)


def test_torchs_own_transformer_layer_learns_in_evaluation_mode_too() -> None:
    """There its fast path would go past the adapters."""
    model = toys.classifier(module=Attends())
    tuned = lora(model, DATA, BUDGET, mode="eval")
    for name in ("layer.self_attn.in_proj_weight", "layer.self_attn.out_proj.weight", "layer.linear1.weight"):
        assert not torch.equal(tuned.weights[name], model.weights[name])
    assert torch.equal(tuned.weights["spare.weight"], model.weights["spare.weight"])
    assert torch.backends.mha.get_fastpath_enabled()


def test_absent_rows_are_trained_where_the_budget_says_so() -> None:
    model = toys.classifier()
    tuned = lora(model, DATA, replace(BUDGET, absent_rows="train"))
    assert not torch.equal(tuned.weights["head.weight"][~toys.SEEN], model.weights["head.weight"][~toys.SEEN])


class Stop(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path) -> None:
    expected = lora(toys.classifier(), DATA, BUDGET, dropout=0.2)
    split, reads = DATA.split("train"), 0

    def read(i: int) -> Any:
        nonlocal reads
        reads += 1
        if reads == 270:
            raise Stop
        return split.read(i)

    broken = replace(DATA, splits={"train": replace(split, read=read)})
    with resuming(tmp_path), pytest.raises(Stop):
        lora(toys.classifier(), broken, BUDGET, dropout=0.2)
    with resuming(tmp_path):
        torch.rand(7)  # whatever was drawn before
        again = lora(toys.classifier(), broken, BUDGET, dropout=0.2)
    assert reads < 270 + 3 * 120
    assert toys.same(again.weights, expected.weights)
