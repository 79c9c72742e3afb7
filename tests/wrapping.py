"""Networks that peft has wrapped: small ones, made and trained on the spot."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reclaim.core.extras import require
from tests import toys

__all__ = ["DATA", "Plain", "quiet", "rows", "trained", "wrapped"]

DATA = toys.data(n=240)


@contextmanager
def quiet() -> Iterator[None]:
    """Without peft's warnings about networks that are no transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Plain(nn.Module):
    """Two layers for adapters, and a head."""

    def __init__(self, *, bias: bool = True, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(3, 16)
        self.second = nn.Linear(16, 16)
        self.head = nn.Linear(16, 5, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


def rows(name: str = "test") -> tuple[Tensor, Tensor]:
    """The rows of a split: inputs [N, 3] and labels [N]."""
    split = DATA.split(name)
    return torch.from_numpy(np.stack([split.read(i) for i in range(len(split))])), split.labels


def trained(net: Any, *, steps: int = 40, every: bool = False, rate: float = 0.02) -> Any:
    """The network after some steps on rows of seen classes, or of every class."""
    x, y = rows("val" if every else "train")
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=rate)
    net.train()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def wrapped(config: Any, net: nn.Module | None = None, *, steps: int = 40) -> tuple[Any, nn.Module]:
    """A network pretrained on every class, and the same with an adapter trained on the seen ones."""
    peft: Any = require("peft", extra="peft")
    base = trained(Plain() if net is None else net, every=True, steps=60)
    with quiet():
        adapted = peft.get_peft_model(copy.deepcopy(base), config)
        return trained(adapted, steps=steps), base
