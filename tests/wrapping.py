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

__all__ = ["DATA", "Plain", "bert", "quiet", "rows", "taught", "trained", "words", "wrapped"]

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


def words(n: int = 160, seed: int = 0, classes: tuple[int, ...] = (0, 1, 2, 3, 4)) -> list[dict[str, Any]]:
    """Sentences of seven words, three of which are mostly a class's own, with labels: what tokenizers and sets give."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        label = classes[i % len(classes)]
        own = np.where(random.random(3) < 0.4, random.integers(0, 5, 3), label)
        ids = np.concatenate([random.integers(5, 15, 4), 15 + 4 * own + random.integers(0, 4, 3)])
        tokens = torch.from_numpy(random.permutation(ids))
        rows.append({"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": torch.tensor(label)})
    return rows


def bert(seed: int = 0, num_labels: int = 5) -> Any:
    """A very small BERT for sequences, with random weights."""
    transformers: Any = require("transformers", extra="transformers")
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
        num_labels=num_labels,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return transformers.BertForSequenceClassification(config).eval()


def taught(net: Any, given: list[dict[str, Any]], *, steps: int = 60, rate: float = 0.01) -> Any:
    """A network of transformers after some steps on these rows."""
    batch = {key: torch.stack([row[key] for row in given]) for key in given[0]}
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=rate)
    net.train()
    for _ in range(steps):
        optimizer.zero_grad()
        net(**batch).loss.backward()
        optimizer.step()
    return net.eval()
