"""The loop trains what answers no logits of classes: two towers, tokens in packs, a denoiser."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from reclaim.data.inputs.protocol import Inputs, stack
from reclaim.data.records import Split
from reclaim.training.budget import Budget
from reclaim.training.loop import module_steps
from tests import toys


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
