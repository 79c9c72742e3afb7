"""How far to go back from the fine-tuned weights to the pretrained ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from reclaim.batch_norm import measure_again, statistics_differ
from reclaim.classifier import Classifier
from reclaim.data import Split
from reclaim.merges.interpolation import interpolation
from reclaim.running import Running

__all__ = ["WEIGHTS", "Mix", "mixture", "smallest_within_one_error"]

WEIGHTS = tuple(step / 10 for step in range(11))


@dataclass(frozen=True)
class Mix:
    """How far the weights stay with the fine-tuned model.

    Attributes:
        weight: 0 is the pretrained model, 1 the fine-tuned one.
        reason: why this one.
        tried: held-out seen accuracy by weight tried.
        rows: held-out rows that chose it.
    """

    weight: float
    reason: str
    tried: dict[str, float] = field(default_factory=dict)
    rows: int = 0


def mixture(
    before: Classifier, after: Classifier, weight: float, inputs: Split, running: Running = Running()
) -> Classifier:
    """The classifier part of the way; where the running statistics of the two differ, with its own, from `inputs`."""
    mixed = after.with_weights(interpolation(before.weights, after.weights, weight=weight))
    if 0 < weight < 1 and statistics_differ(before.weights, after.weights):
        return measure_again(mixed, inputs, running)
    return mixed


def smallest_within_one_error(weights: tuple[float, ...], right: Tensor) -> Mix:
    """The smallest weight whose accuracy is within one standard error of the best, from hits [weights, rows]."""
    accuracy = right.double().mean(dim=1)
    n, best = right.shape[1], float(accuracy.max())
    error = (best * (1 - best) / n) ** 0.5
    index = int((accuracy >= best - error).nonzero()[0])
    return Mix(
        weight=weights[index],
        reason=f"the smallest weight of the fine-tuned model within one standard error ({error:.3f}) of the best seen "
        f"accuracy ({best:.3f}) on {n} held-out rows",
        tried={f"{weight:g}": float(value) for weight, value in zip(weights, accuracy, strict=True)},
        rows=n,
    )
