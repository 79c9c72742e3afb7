"""Fine-tune, then go part of the way back."""

from __future__ import annotations

from typing import Literal

from reclaim.core.numbers import Share, in_range
from reclaim.data.records import Data
from reclaim.models.batch_norm import measure_again, statistics_differ
from reclaim.models.classifier import Classifier
from reclaim.models.merges.interpolation import interpolation
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune

__all__ = ["wise_ft"]

FORMERLY = {"alpha": "weight"}


@in_range
def wise_ft(
    model: Classifier,
    data: Data,
    budget: Budget = Budget(),
    *,
    alpha: Share = 0.5,
    mode: Literal["train", "eval"] = "train",
) -> Classifier:
    """Fine-tune everything, then interpolate between the pretrained and the fine-tuned weights.

    Args:
        alpha: 0 is the pretrained model, 1 the fine-tuned one.
        mode: "eval" keeps batch norm's running statistics and switches dropout off while training.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022 (WiSE-FT).
    Differs: where the two models' running statistics differ, those of the mixture are measured on the training rows
        instead of interpolated.
    """
    tuned = fine_tune(model, data, budget, mode=mode)
    mixed = tuned.with_weights(interpolation(model.weights, tuned.weights, alpha=alpha))
    if 0 < alpha < 1 and statistics_differ(model.weights, tuned.weights):
        rows = data.seen_only("train")
        return measure_again(mixed, rows, budget.inference)
    return mixed
