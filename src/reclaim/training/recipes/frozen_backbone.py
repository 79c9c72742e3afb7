"""Train the head, keep the backbone."""

from __future__ import annotations

from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head import settled
from reclaim.training.budget import Budget
from reclaim.training.fit import fit

__all__ = ["frozen_backbone"]


def frozen_backbone(model: Classifier, data: Data, budget: Budget = Budget()) -> Classifier:
    """Train the head's rows of seen classes by gradient steps; the backbone stays, running statistics included.

    It starts from the pretrained head and sees augmented images; `linear-probe` fits a new head to convergence instead.

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    """
    tuned = settled(model, data).copy()
    return fit(tuned, data, budget, params=tuned.last_layer.parameters(), mode="eval")
