"""First the head, then everything."""

from __future__ import annotations

from reclaim.core.numbers import Few, Whole, in_range
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from reclaim.training.recipes.linear_probe import linear_probe

__all__ = ["lp_ft"]


@in_range
def lp_ft(
    model: Classifier,
    data: Data,
    budget: Budget = Budget(),
    *,
    probe_strengths: Few = 10,
    probe_iterations: Whole = 200,
) -> Classifier:
    """Fit the head to frozen features, then train everything from there, in evaluation mode.

    With a head that already fits, features need not move to make up for it. Running statistics stay those the probe
    was fitted with, so that fine-tuning starts from the probe's very predictions.

    Args:
        probe_strengths: size of the probe's grid of L2 strengths.
        probe_iterations: the most steps of the probe's convex fit; 0 skips the probe.

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    Differs: see `linear_probe`.
    """
    probed = linear_probe(model, data, budget, strengths=probe_strengths, iterations=probe_iterations)
    return fine_tune(probed, data, budget, mode="eval")
