"""Frozen head: the head stays bit for bit."""

import torch

from reclaim.training.budget import Budget
from reclaim.training.recipes.frozen_head import frozen_head
from tests import toys


def test_the_head_stays_and_the_rest_moves() -> None:
    model = toys.classifier()
    tuned = frozen_head(model, toys.data(), Budget(epochs=2, learning_rate=0.05, batch_size=16))
    stays = {name for name in model.weights if torch.equal(tuned.weights[name], model.weights[name])}
    assert stays == {"head.weight", "head.bias"}
