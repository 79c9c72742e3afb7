"""Frozen backbone: the backbone stays bit for bit, running statistics included."""

import torch

from reclaim.training.budget import Budget
from reclaim.training.recipes.frozen_backbone import frozen_backbone
from tests import toys


def test_the_backbone_stays_and_the_head_moves() -> None:
    model = toys.classifier()
    tuned = frozen_backbone(model, toys.data(), Budget(epochs=2, learning_rate=0.05, batch_size=16))
    moves = {name for name in model.weights if not torch.equal(tuned.weights[name], model.weights[name])}
    assert moves == {"head.weight", "head.bias"}
