"""The whole story on embedded data, in seconds: pretrain, fine-tune on half the classes, repair."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reclaim.data.inputs.image import Preprocess
from reclaim.data.records import Data
from reclaim.data.sources.digits import digits
from reclaim.models.classifier import Classifier
from reclaim.models.head import find_head
from reclaim.models.networks import digits_cnn
from reclaim.repairs.models import Repair, repair
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune

__all__ = ["Demo", "demo"]


@dataclass(frozen=True)
class Demo:
    """One run of the story.

    Attributes:
        before, after: the pretrained and the fine-tuned model.
        data: the target domain.
        repair: the repaired model and its numbers, on test rows that chose nothing.
    """

    before: Classifier
    after: Classifier
    data: Data
    repair: Repair


def demo(seed: int = 0) -> Demo:
    """Pretrain a small network on ten digits, fine-tune it on five in another domain, and repair it.

    Args:
        seed: of the division of the images, the five classes, the network and the training.
    """
    source, target = digits(seed=seed), digits("digits-shifted", seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = digits_cnn()
    start = Classifier(
        module,
        find_head(module),
        classes=source.classes,
        preprocess=Preprocess(channels=1),
        library="reclaim",
        name="digits_cnn",
    )
    before = fine_tune(start, source, Budget(epochs=20, learning_rate=0.05, batch_size=32, seed=seed))
    after = fine_tune(before, target, Budget(epochs=30, learning_rate=0.01, batch_size=32, seed=seed))
    return Demo(before, after, target, repair(before, after, target, seed=seed))
