"""The batch size is for speed alone: whatever it is, a repair makes the same choices."""

import pytest
import torch
from torch import nn

from reclaim.core.inference import Inference
from reclaim.models.classifier import Classifier
from reclaim.repairs.models import repair
from reclaim.repairs.result import Repair
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys

DATA = toys.data(n=1500, spread=1.2, move=0.5)
BUDGET = Budget(epochs=3, learning_rate=0.05, batch_size=64, device="cpu")


def plain() -> nn.Module:
    """Wide enough that the order of its sums depends on the batch."""
    return nn.Sequential(nn.Linear(3, 257), nn.ReLU(), nn.Linear(257, 5))


def normed() -> nn.Module:
    """With a batch norm, whose statistics are measured again."""
    return nn.Sequential(nn.Linear(3, 257), nn.BatchNorm1d(257), nn.ReLU(), nn.Linear(257, 5))


@pytest.fixture(scope="module", params=[plain, normed])
def repairs(request: pytest.FixtureRequest) -> list[Repair[Classifier]]:
    everything = toys.replace_seen(toys.data(n=1500, spread=1.2), torch.ones(5, dtype=torch.bool))
    torch.manual_seed(0)
    module = request.param()
    before = fine_tune(Classifier(module, str(len(module) - 1), classes=toys.CLASSES), everything, BUDGET)
    after = fine_tune(before, DATA, BUDGET)
    sizes = (32, 256, 1000)
    return [repair(before, after, DATA, inference=Inference(batch_size=size, device="cpu")) for size in sizes]


def test_alpha_and_offsets_are_the_same(repairs: list[Repair[Classifier]]) -> None:
    first, *others = repairs
    for other in others:
        assert other.mix.alpha == first.mix.alpha
        assert other.bias == pytest.approx(first.bias, abs=1e-3)
        for a, b in zip(first.mix.tried, other.mix.tried, strict=True):
            assert b.offset == pytest.approx(a.offset, abs=1e-3)
        torch.testing.assert_close(
            torch.tensor(other.offset.shifts), torch.tensor(first.offset.shifts), atol=1e-3, rtol=0
        )
