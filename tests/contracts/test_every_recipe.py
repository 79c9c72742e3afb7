"""What every recipe must do. A recipe's own test file may say TOY (settings for these tests) and NOTHING (what, with
zero epochs, spends nothing)."""

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reclaim.core.registry import find, names
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.training.budget import Budget
from tests import toys
from tests.toys import copied

EVERY = pytest.mark.parametrize("name", names("recipes"))
DATA = toys.data()
BUDGET = Budget(epochs=8, learning_rate=0.05, batch_size=16)


def settings(name: str, which: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(
        importlib.import_module(f"tests.training.recipes.test_{name.replace('-', '_')}"), which, {}
    )
    return found


def run(name: str, model: Classifier, data: Data = DATA, budget: Budget = BUDGET) -> Classifier:
    tuned: Classifier = find("recipes", name)(model, data, budget, **settings(name, "TOY"))
    return tuned


@EVERY
def test_the_given_model_stays_bit_for_bit(name: str) -> None:
    model = toys.classifier()
    kept = copied(model.weights)
    tuned = run(name, model)
    assert toys.same(model.weights, kept) and not toys.same(tuned.weights, kept)
    tuned.last_layer.weight.data.zero_()
    assert toys.same(model.weights, kept)


@EVERY
def test_the_architecture_stays(name: str) -> None:
    model = toys.classifier()
    tuned = run(name, model)
    assert list(tuned.weights) == list(model.weights) and str(tuned.module) == str(model.module)
    assert (tuned.classes, tuned.head, tuned.name) == (model.classes, model.head, model.name)
    assert all(p.requires_grad and p.grad is None for p in tuned.module.parameters())


@EVERY
def test_spending_nothing_changes_nothing(name: str) -> None:
    model = toys.classifier()
    tuned = find("recipes", name)(model, DATA, replace(BUDGET, epochs=0), **settings(name, "NOTHING"))
    assert toys.same(tuned.weights, model.weights)


@EVERY
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    assert toys.same(run(name, toys.classifier()).weights, run(name, toys.classifier()).weights)


@EVERY
def test_it_learns_the_seen_classes(name: str) -> None:
    def seen(model: Classifier) -> float:
        rows = predict(model, DATA, "test")
        found = accuracy(rows.logits, rows.labels, rows.seen).seen_among_seen
        assert found is not None
        return found

    start = toys.classifier(2)
    assert seen(run(name, start)) > seen(start) + 0.1


@EVERY
def test_rows_of_absent_classes_keep_their_pretrained_weights(name: str) -> None:
    model = toys.classifier()
    tuned = run(name, model)
    for key in ("head.weight", "head.bias"):
        expected = model.weights[key][~toys.SEEN]
        torch.testing.assert_close(tuned.weights[key][~toys.SEEN], expected, rtol=0, atol=0)


@EVERY
def test_no_example_of_an_absent_class_is_read(name: str) -> None:
    def guarded(key: str) -> Any:
        split = DATA.split(key)

        def read(i: int) -> np.ndarray:
            assert bool(toys.SEEN[split.labels[i]]), "an example of an absent class was read"
            found: np.ndarray = split.read(i)
            return found

        return replace(split, read=read)

    run(name, toys.classifier(), replace(DATA, splits={"train": guarded("train"), "val": guarded("val")}))


@EVERY
def test_a_model_with_more_classes_than_the_data_keeps_the_others(name: str) -> None:
    torch.manual_seed(0)
    wide = replace(toys.classifier(module=toys.Net(8)), classes=("x", *toys.CLASSES, "y", "z"))
    tuned = run(name, wide)
    kept = [0, 2, 5, 6, 7]  # x, bee, elk, y, z
    assert torch.equal(tuned.weights["head.weight"][kept], wide.weights["head.weight"][kept])


# --- on a card


def still() -> Classifier:
    """Without dropout, whose random numbers a card draws otherwise; one part in another mode, one weight frozen."""
    model = toys.classifier()
    model.module.drop.p = 0.0
    model.module.train()
    model.module.norm.eval()
    model.module.norm.bias.requires_grad_(False)
    return model


def state(model: Classifier) -> dict[str, Any]:
    """Where every weight lies, whether it can be trained, and the mode of every part."""
    tensors = {**dict(model.module.named_parameters()), **dict(model.module.named_buffers())}
    assert not any(tensor.is_inference() or tensor.grad is not None for tensor in tensors.values())
    lie = {key: (tensor.device, tensor.dtype, tensor.requires_grad) for key, tensor in tensors.items()}
    return lie | {key: part.training for key, part in model.module.named_modules()}


@EVERY
@pytest.mark.parametrize("home", ["cpu", "card"])
def test_on_a_card_it_makes_what_it_makes_on_a_cpu_and_where_the_given_network_is(
    name: str, home: str, device: torch.device
) -> None:
    short = replace(BUDGET, epochs=3)
    expected = run(name, still(), budget=replace(short, device="cpu"))
    for where in ("cpu", str(device)):
        model = still()
        model.module.to(device if home == "card" else home)
        before = state(model)
        tuned = run(name, model, budget=replace(short, device=where))
        assert state(model) == before == state(tuned)
        for key, tensor in expected.weights.items():
            torch.testing.assert_close(tuned.weights[key].cpu(), tensor, rtol=1e-3, atol=1e-4, msg=key)


@EVERY
@pytest.mark.parametrize("fails", [OSError, KeyboardInterrupt])
def test_stopped_on_a_card_it_leaves_the_given_network_where_it_was_and_the_next_one_runs(
    name: str, fails: type[BaseException], device: torch.device
) -> None:
    split, reads = DATA.split("train"), 0

    def read(i: int) -> np.ndarray:
        nonlocal reads
        reads += 1
        if reads == 150:
            raise fails
        found: np.ndarray = split.read(i)
        return found

    model, budget = still(), replace(BUDGET, device=str(device))
    before = state(model)
    with pytest.raises(fails):
        run(name, model, replace(DATA, splits={"train": replace(split, read=read)}), budget)
        run(name, model, replace(DATA, splits={"train": replace(split, read=read)}), budget)
    assert state(model) == before
    run(name, model, budget=budget)
