"""Training a classifier: it learns, repeats, and leaves alone what it must."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

from reclaim.core.errors import BadInput
from reclaim.models.predict import predict
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.training.budget import Budget
from reclaim.training.fit import fit, steps
from reclaim.training.trained import Part
from tests import toys
from tests.toys import copied

DATA = toys.data()
BUDGET = Budget(epochs=4, learning_rate=0.05, batch_size=16)


def seen_accuracy(model) -> float:
    rows = predict(model, DATA, "val")
    return accuracy(rows.logits, rows.labels, rows.seen).seen_among_seen


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_learns(optimizer: str) -> None:
    model = toys.classifier()
    before = seen_accuracy(model)
    fit(model, DATA, replace(BUDGET, epochs=20, optimizer=optimizer, learning_rate=0.02))
    assert seen_accuracy(model) > max(0.9, before)


def test_the_seed_decides_the_weights() -> None:
    a, b, c = (fit(toys.classifier(), DATA, replace(BUDGET, seed=seed)).weights for seed in (1, 1, 2))
    assert toys.same(a, b) and not toys.same(a, c)


def test_it_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = toys.classifier(5)
    torch.manual_seed(5)
    fit(model, DATA, BUDGET)
    assert torch.equal(torch.rand(3), expected)


def test_rows_of_absent_classes_keep_their_weights_whatever_the_loss() -> None:
    model = toys.classifier()
    start = copied(model.weights)
    fit(model, DATA, replace(BUDGET, weight_decay=0.1), loss=lambda batch: batch.logits.square().mean())
    for name in ("head.weight", "head.bias"):
        assert torch.equal(model.weights[name][~toys.SEEN], start[name][~toys.SEEN])
        assert not torch.equal(model.weights[name][toys.SEEN], start[name][toys.SEEN])


def test_rows_of_absent_classes_are_trained_like_the_rest_where_the_budget_says_so() -> None:
    model = toys.classifier()
    start = copied(model.weights)
    fit(model, DATA, replace(BUDGET, absent_rows="train"))
    assert bool((model.weights["head.weight"] != start["head.weight"]).any(dim=1).all())


def test_training_the_rows_of_absent_classes_is_training_with_all_classes_seen() -> None:
    """Where the training rows are the same, only what the head keeps tells the two apart."""
    all_seen = replace(DATA, seen=torch.ones(5, dtype=torch.bool))
    everything = fit(toys.classifier(), all_seen, BUDGET).weights
    assert toys.same(fit(toys.classifier(), DATA, replace(BUDGET, absent_rows="train")).weights, everything)
    assert not toys.same(fit(toys.classifier(), DATA, BUDGET).weights, everything)


def test_labels_are_outputs_of_the_model_and_rows_are_rows_of_seen_classes() -> None:
    torch.manual_seed(0)
    wide = replace(toys.classifier(module=toys.Net(8)), classes=("x", *toys.CLASSES, "y", "z"))
    mixed = replace(DATA, splits={"train": DATA.split("val")})  # has rows of absent classes too
    rows = mixed.seen_only("train")
    for batch in steps(wide, mixed, BUDGET):
        assert torch.equal(batch.y.cpu(), rows.labels[batch.rows] + 1)
        assert torch.equal(batch.x.cpu(), torch.stack([torch.from_numpy(rows.read(i)) for i in batch.rows.tolist()]))


def test_only_the_parameters_named_are_trained_and_flags_are_restored() -> None:
    model = toys.classifier()
    model.module.norm.weight.requires_grad_(False)
    start = copied(model.weights)
    fit(model, DATA, BUDGET, params=[model.module.first.weight], mode="eval")
    changed = {name for name, tensor in model.weights.items() if not torch.equal(tensor, start[name])}
    assert changed == {"first.weight"}
    flags = {name: p.requires_grad for name, p in model.module.named_parameters()}
    assert flags.pop("norm.weight") is False and all(flags.values())


def test_evaluation_mode_keeps_running_statistics() -> None:
    start = toys.classifier().weights
    train, evaluation = (fit(toys.classifier(), DATA, BUDGET, mode=mode).weights for mode in ("train", "eval"))
    assert torch.equal(evaluation["norm.running_mean"], start["norm.running_mean"])
    assert not torch.equal(train["norm.running_mean"], start["norm.running_mean"])


def test_no_example_of_an_absent_class_is_read() -> None:
    split = DATA.split("val")

    def read(i: int):
        assert bool(toys.SEEN[split.labels[i]]), "an example of an absent class was read"
        return split.read(i)

    everything = replace(DATA, splits={"train": replace(split, read=read)})
    fit(toys.classifier(), everything, BUDGET)


def test_a_loss_that_explodes_is_an_error_that_names_the_learning_rate() -> None:
    with pytest.raises(BadInput, match="no longer finite in epoch 1; the learning rate 1e"):
        fit(toys.classifier(), DATA, replace(BUDGET, learning_rate=1e30))


@pytest.mark.parametrize(
    "numbers",
    [
        {"epochs": -1},
        {"learning_rate": 0.0},
        {"batch_size": 0},
        {"accumulate": 0},
        {"weight_decay": -1.0},
        {"steps": -1},
    ],
)
def test_impossible_budgets_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="must be"):
        Budget(**numbers)


def test_half_precision_leaves_an_ordinary_network() -> None:
    model = fit(toys.classifier(), DATA, replace(BUDGET, precision="bf16"))
    assert model.module(torch.randn(2, 3)).dtype == torch.float32
    assert "forward" not in vars(model.module)


def test_rows_of_the_head_that_are_trained_are_still_those_of_seen_classes_only() -> None:
    model, every = toys.classifier(), torch.ones(5, dtype=torch.bool)
    start = model.last_layer.weight.detach().clone()
    fit(model, DATA, BUDGET, params=[Part(model.last_layer.weight, every)])
    moved = (model.last_layer.weight != start).any(dim=1)
    assert torch.equal(moved, toys.SEEN)
    some = torch.tensor([True, True, False, False, False])
    other = toys.classifier()
    fit(other, DATA, BUDGET, params=[Part(other.last_layer.weight, some)])
    assert torch.equal((other.last_layer.weight != start).any(dim=1), toys.SEEN & some)


def test_a_network_that_answers_probabilities_is_not_trained_on_them() -> None:
    model = toys.classifier()
    module = nn.Sequential(OrderedDict(net=model.module, out=nn.Softmax(1)))
    with pytest.raises(BadInput, match="these logits are probabilities"):
        fit(replace(model, module=module, head=f"net.{model.head}"), DATA, BUDGET)
