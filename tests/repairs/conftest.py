"""A pair of networks that every way to a repair is tried on."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys

TARGET = toys.data(n=300, move=0.5)
BUDGET = Budget(epochs=15, learning_rate=0.05, batch_size=16)


def counted(data: Data) -> tuple[Data, Counter[tuple[str, int]]]:
    """The same data, and how often each example of each split is read."""
    counts: Counter[tuple[str, int]] = Counter()

    def counting(name: str, split: Split) -> Split:
        def read(i: int) -> Any:
            counts[name, i] += 1
            return split.read(i)

        return replace(split, read=read)

    return replace(data, splits={name: counting(name, split) for name, split in data.splits.items()}), counts


@pytest.fixture(scope="package")
def pair() -> tuple[Classifier, Classifier]:
    """A network pretrained on five clouds and fine-tuned on three of them, moved."""
    before = fine_tune(toys.classifier(), toys.replace_seen(toys.data(n=300), torch.ones(5, dtype=torch.bool)), BUDGET)
    return before, fine_tune(before, TARGET, BUDGET)
