"""The loop carries what published methods do between two batches, each in a few lines and without a hook of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss

from reclaim.data.loader import batches, placed
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from tests import toys

DATA = toys.data()
BUDGET = Budget(epochs=3, learning_rate=0.05, batch_size=16)


# --- a penalty on features of named layers, from a teacher whose features are computed once


def with_features(model: Classifier, layers: Sequence[str], kept: dict[str, Tensor]) -> list[Any]:
    """Hooks that note what these layers answer."""

    def note(name: str) -> Any:
        return model.module.get_submodule(name).register_forward_hook(
            lambda _, inputs, output: kept.__setitem__(name, output)
        )

    return [note(name) for name in layers]


def near_features(model: Classifier, strength: float, budget: Budget = BUDGET) -> Classifier:
    layers, tuned, now = ("first", "norm"), model.copy(), {}
    rows = DATA.seen_only("train")
    hooks = with_features(model, layers, now)
    with torch.no_grad():
        model.module(torch.stack([torch.from_numpy(rows.read(i)) for i in range(len(rows))]))
    teacher = dict(now)
    hooks += with_features(tuned, layers, now)
    try:
        for batch in steps(tuned, DATA, budget):
            loss = classification(batch)  # runs the network, so that its features are there
            apart = [mse_loss(f, teacher[name][batch.rows].to(f.device)) for name, f in now.items()]
            batch.backward(loss + strength * sum(apart))
            batch.step()
    finally:
        for hook in hooks:
            hook.remove()
    return tuned


def test_a_penalty_on_features_of_a_teacher_holds_them() -> None:
    model = toys.classifier()
    assert toys.same(near_features(model, 0.0).weights, fit(model.copy(), DATA, BUDGET).weights)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    moved = [mse_loss(near_features(model, s).module.first(x), model.module.first(x)) for s in (0.0, 1.0, 10.0)]
    assert moved[0] > moved[1] > moved[2]


# --- a projection that needs the gradients before the step


def turning_back(model: Classifier, strength: float, budget: Budget = BUDGET) -> Classifier:
    """Gradients lose, by a share, what leads further from the start."""
    tuned = model.copy()
    start = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    theta = dict(tuned.module.named_parameters())
    for batch in steps(tuned, DATA, budget):
        batch.backward(classification(batch))
        for name, gradient in batch.gradients.items():
            away = theta[name].detach() - start[name].to(gradient.device)
            along = (gradient * away).sum() / away.square().sum().clamp(min=1e-12)
            gradient.sub_(strength * along.clamp(max=0) * away)
        batch.step()
    return tuned


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_projection_of_gradients_keeps_weights_nearer(accumulate: int) -> None:
    model, budget = toys.classifier(), replace(BUDGET, accumulate=accumulate, weight_decay=0.0)
    free = turning_back(model, 0.0, budget)
    assert toys.same(free.weights, fit(model.copy(), DATA, budget).weights)
    start = model.module.first.weight
    held = turning_back(model, 1.0, budget).module.first.weight
    assert (held - start).norm() < (free.module.first.weight - start).norm()


# --- an inner step on validation batches


class Radii(nn.Module):
    """How far every parameter may go from its start; the weights it allows."""

    def __init__(self, start: dict[str, Tensor], size: float) -> None:
        super().__init__()
        self.start = start
        self.size = nn.ParameterList([nn.Parameter(torch.tensor(size)) for _ in start])

    def forward(self, theta: dict[str, Tensor]) -> dict[str, Tensor]:
        allowed = {}
        for radius, (name, start) in zip(self.size, self.start.items(), strict=True):
            now = theta[name].detach()
            start, radius = start.to(now.device), radius.clamp(min=0).to(now.device)
            allowed[name] = start + (radius / ((now - start).norm() + 1e-8)).clamp(max=1) * (now - start)
        return allowed


def learned_radii(model: Classifier, size: float, rate: float) -> tuple[Classifier, Radii]:
    tuned = model.copy()
    theta = dict(tuned.module.named_parameters())
    radii = Radii({name: p.detach().clone() for name, p in theta.items()}, size)
    inner = torch.optim.Adam(radii.parameters(), lr=rate)
    held = list(batches(DATA.seen_only("val"), model.preprocess, 16))
    for batch in steps(tuned, DATA, BUDGET, mode="eval", state=[radii, inner]):
        batch.backward(classification(batch))
        if batch.step():
            x, y = held[batch.number % len(held)]
            z = functional_call(tuned.module, radii(theta), (placed(x, batch.y.device),))
            inner.zero_grad()
            cross_entropy(z, y.to(z.device)).backward()
            inner.step()
            with torch.no_grad():
                for name, weights in radii(theta).items():
                    theta[name].copy_(weights)
    return tuned, radii


def test_radii_learned_on_validation_batches_hold_the_weights() -> None:
    model = toys.classifier()
    free = fit(model.copy(), DATA, BUDGET, mode="eval").weights
    for name, weights in learned_radii(model, size=1e6, rate=1e-9)[0].weights.items():
        torch.testing.assert_close(weights, free[name])
    still = learned_radii(model, size=0.0, rate=1e-12)[0].weights
    for name, weights in still.items():
        torch.testing.assert_close(weights, model.weights[name], atol=1e-6, rtol=0)
    tuned, radii = learned_radii(model, size=0.1, rate=0.01)
    sizes = torch.stack(list(radii.size)).detach()
    assert int((sizes - 0.1).abs().gt(1e-3).sum()) > len(sizes) // 2  # a radius that nothing reaches has no gradient
    for size, (name, start) in zip(sizes, radii.start.items(), strict=True):
        assert (tuned.weights[name] - start).norm() <= size + 1e-5


# --- a sampler of the recipe's own


def test_classes_may_be_drawn_equally_often() -> None:
    rows = DATA.seen_only("train")
    few = replace(DATA, splits={"train": rows.rows(torch.cat([torch.arange(40), torch.arange(40, 120, 8)]))})
    y = few.split("train").labels
    weights = (1 / y.bincount(minlength=5).double())[y]

    def balanced(epoch: int, random: torch.Generator) -> Tensor:
        return torch.multinomial(weights, 160, replacement=True, generator=random)

    def drawn(seed: int) -> Tensor:
        rows = []
        for batch in steps(toys.classifier(), few, replace(BUDGET, seed=seed), order=balanced):
            batch.backward(classification(batch))
            batch.step()
            rows.append(batch.rows)
        return torch.cat(rows)

    counts = y[drawn(0)].bincount(minlength=5)[[0, 2, 3]]
    assert int(counts.sum()) == 3 * 160 and int(counts.min()) > 120  # of 160 each; the rarest class has a tenth
    assert torch.equal(drawn(0), drawn(0)) and not torch.equal(drawn(0), drawn(1))


# --- a budget in steps over several restarts, with one learning-rate schedule


def averaged(model: Classifier, parts: list[tuple[str, ...]], budget: Budget, rounds: int) -> Classifier:
    """Every round trains a copy on each part of the classes and goes on from their mean."""
    assert budget.steps is not None
    each = budget.steps // rounds
    for turn in range(rounds):
        copies = []
        for classes in parts:
            local = model.copy()
            for batch in steps(local, DATA.with_seen(classes), budget, span=range(turn * each, (turn + 1) * each)):
                batch.backward(classification(batch))
                batch.step()
            copies.append(local.weights)
        mean = {n: torch.stack([c[n] for c in copies]).double().mean(0).to(t.dtype) for n, t in model.weights.items()}
        model = model.with_weights(mean)
    return model


def test_runs_that_share_a_budget_and_leave_classes_out_are_averaged() -> None:
    model, budget = toys.classifier(), replace(BUDGET, steps=12, weight_decay=0.0)
    everything = ("ant", "cat", "dog")
    alone = averaged(model, [everything], budget, rounds=3)
    several = averaged(model, [everything, everything], budget, rounds=3)
    for name, tensor in alone.weights.items():
        torch.testing.assert_close(several.weights[name], tensor, msg=name)
    assert toys.same(averaged(model, [everything], budget, rounds=1).weights, fit(model.copy(), DATA, budget).weights)
    parts = [("ant", "cat"), ("cat", "dog"), ("ant", "dog")]
    left_out = averaged(model, parts, budget, rounds=3)
    assert torch.equal(left_out.weights["head.weight"][~toys.SEEN], model.weights["head.weight"][~toys.SEEN])
