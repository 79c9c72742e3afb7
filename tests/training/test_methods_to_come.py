"""The loop carries what published methods do between two batches, each in a few lines and without a hook of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss, normalize

from reclaim.data.inputs.protocol import Inputs, stack
from reclaim.data.loader import batches, placed
from reclaim.data.records import Split
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from reclaim.training.loop import module_steps
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


# --- losses on answers that are no logits of classes


@dataclass(frozen=True)
class Pairs:
    """Examples that are mappings of arrays already."""

    def __call__(self, example: Any, augment: str = "none", random: np.random.Generator | None = None) -> Inputs:
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in example.items()}

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        return stack(inputs)


def split(n: int, **arrays: np.ndarray) -> Split:
    return Split(torch.zeros(n, dtype=torch.int64), lambda i: {k: a[i] for k, a in arrays.items()}, str)


class Towers(nn.Module):
    """Pictures and texts into one space."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text, self.scale = nn.Linear(6, 4), nn.EmbeddingBag(9, 4), nn.Parameter(torch.tensor(2.0))

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return normalize(self.image(image), dim=1), normalize(self.text(text), dim=1)


def test_two_towers_learn_which_picture_belongs_to_which_text() -> None:
    random = np.random.default_rng(0)
    text = random.integers(0, 9, (64, 3))
    image = (np.eye(9, 6)[text].sum(1) + 0.05 * random.normal(size=(64, 6))).astype(np.float32)
    torch.manual_seed(0)
    net, losses = Towers(), []
    budget = Budget(epochs=40, learning_rate=0.02, batch_size=16, optimizer="adamw")
    for batch in module_steps(net, split(64, image=image, text=text), Pairs(), budget):
        f, g = batch.answer
        z, own = batch.net.scale.exp() * f @ g.T, torch.arange(len(f), device=f.device)
        loss = (cross_entropy(z, own) + cross_entropy(z.T, own)) / 2
        batch.backward(loss)
        batch.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) / 3


def test_packed_tokens_learn_from_the_positions_of_a_mask() -> None:
    """The next token is the last one plus one; what the mask leaves out is wrong, and must not be learned."""
    random = np.random.default_rng(0)
    tokens = (random.integers(0, 7, (48, 1)) + np.arange(13)) % 7
    mask = random.random((48, 12)) < 0.5
    targets = np.where(mask, tokens[:, 1:], 3)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7))

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, tokens: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
            return self.net(tokens)  # [B, T, V]

    rows = split(48, tokens=tokens[:, :-1], targets=targets, mask=mask)
    budget = Budget(epochs=20, learning_rate=0.05, batch_size=16, optimizer="adamw", accumulate=2)
    for batch in module_steps(Named(), rows, Pairs(), budget):
        use = batch.x["mask"]
        batch.backward(cross_entropy(batch.answer[use], batch.x["targets"][use]))
        batch.step()
    assert net(torch.arange(7)).argmax(1).tolist() == [1, 2, 3, 4, 5, 6, 0]


class Denoiser(nn.Module):
    """The noise in x at time t."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(torch.cat([x, t[:, None]], dim=1))


def test_a_denoiser_predicts_noise_that_is_drawn_anew_in_every_batch() -> None:
    points = np.random.default_rng(0).normal((2.0, -1.0), 0.1, (64, 2)).astype(np.float32)

    def trained(budget: Budget) -> tuple[nn.Module, list[float]]:
        torch.manual_seed(0)
        net, losses = Denoiser(), []
        for batch in module_steps(net, split(64, x=points), Pairs(), budget):
            x = batch.x["x"]
            t, noise = torch.rand(len(x), device=x.device), torch.randn_like(x)
            loss = mse_loss(batch.net((1 - t)[:, None] * x + t[:, None] * noise, t), noise)
            batch.backward(loss)
            batch.step()
            losses.append(float(loss.detach()))
        return net, losses

    budget = Budget(epochs=60, learning_rate=0.01, batch_size=32, optimizer="adamw")
    net, losses = trained(budget)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 2
    assert toys.same(net.state_dict(), trained(budget)[0].state_dict())
