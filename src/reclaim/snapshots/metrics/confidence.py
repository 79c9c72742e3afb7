"""Is the probability honest? From logits, in blocks, without a second [N, C] array."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reclaim.core.arrays import Array
from reclaim.core.numbers import Few, in_range
from reclaim.snapshots.metrics.accuracy import checked
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.row_scores import RowScores, row_scores

__all__ = ["Confidence", "confidence", "confidence_by_group", "confidence_of", "ece"]


@dataclass(frozen=True)
class Confidence:
    """Confidence of the softmax of the logits; None without rows.

    Attributes:
        nll: mean negative log-likelihood, in nats.
        brier: mean squared distance between probabilities and the one-hot label, in [0, 2]; not divided by C.
        ece: expected calibration error of the top label, see `ece`.
    """

    nll: float | None
    brier: float | None
    ece: float | None


@in_range
def confidence(logits: Array, labels: Array, *, bins: Few = 15) -> Confidence:
    """NLL, Brier score and ECE of [N, C] logits and [N] labels."""
    z, y, _ = checked(logits, labels, torch.ones(logits.shape[1], dtype=torch.bool))
    return confidence_of(row_scores(z, y), bins=bins)


def confidence_of(scores: RowScores, *, bins: int = 15) -> Confidence:
    """The means of what the rows say."""
    if not len(scores.top):
        return Confidence(None, None, None)
    return Confidence(
        nll=float(scores.nll.mean()), brier=float(scores.brier.mean()), ece=ece(scores.top, scores.right, bins=bins)
    )


def confidence_by_group(scores: RowScores, is_seen: Tensor) -> dict[str, Confidence]:
    """The same of all rows, of rows of seen classes, and of rows of absent classes, all classes competing.

    Seen rows that are too sure and absent rows that are not sure enough cancel in the error of all rows.

    Args:
        is_seen: [N] bool, whether the label is a seen class.
    """
    groups = {"seen": is_seen, "absent": ~is_seen}  # one copy of rows at a time
    return {"all": confidence_of(scores)} | {name: confidence_of(scores.rows(of)) for name, of in groups.items()}
