"""A pair of networks that every way to a repair is tried on."""

import pytest
import torch

from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys

TARGET = toys.data(n=300, move=0.5)
BUDGET = Budget(epochs=15, learning_rate=0.05, batch_size=16)


@pytest.fixture(scope="package")
def pair() -> tuple[Classifier, Classifier]:
    """A network pretrained on five clouds and fine-tuned on three of them, moved."""
    before = fine_tune(toys.classifier(), toys.replace_seen(toys.data(n=300), torch.ones(5, dtype=torch.bool)), BUDGET)
    return before, fine_tune(before, TARGET, BUDGET)
