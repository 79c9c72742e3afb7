"""Train the backbone, keep the head."""

from __future__ import annotations

from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head import settled
from reclaim.training.budget import Budget
from reclaim.training.fit import fit

__all__ = ["frozen_head"]


def frozen_head(model: Classifier, data: Data, budget: Budget = Budget()) -> Classifier:
    """Train all weights but those of the head.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (frozen classifier).
    """
    tuned = settled(model, data).copy()
    head = {id(parameter) for parameter in tuned.last_layer.parameters()}
    return fit(tuned, data, budget, params=[p for p in tuned.module.parameters() if id(p) not in head])
