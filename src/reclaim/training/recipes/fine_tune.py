"""Train everything."""

from __future__ import annotations

from typing import Literal

from reclaim.core.numbers import in_range
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.fit import fit

__all__ = ["fine_tune"]


@in_range
def fine_tune(
    model: Classifier, data: Data, budget: Budget = Budget(), *, mode: Literal["train", "eval"] = "train"
) -> Classifier:
    """Train all weights on the cross-entropy over all classes.

    Args:
        mode: "eval" keeps batch norm's running statistics and switches dropout off while training.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (its baseline).
    Differs: the head's rows of absent classes keep their pretrained weights, where the paper's code trains them too
        (`absent_rows="train"` of the budget); one learning rate for all layers, where it takes a tenth for the
        backbone.
    """
    return fit(model.copy(), data, budget, mode=mode)
