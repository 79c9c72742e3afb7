"""Is the label an absent class? The classifier's answer to that one question, and whether its probability is honest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reclaim.arrays import Array, row_blocks
from reclaim.metrics.accuracy import checked
from reclaim.metrics.brier import binary_brier
from reclaim.metrics.calibration_error import ece
from reclaim.metrics.confidence import Confidence

__all__ = ["absent_log_odds", "group_question", "group_question_of"]


def group_question(logits: Array, labels: Array, seen: Array, *, bins: int = 15) -> Confidence:
    """NLL, Brier score and ECE of P(absent | x), the sum of the absent classes' probabilities, against 1[label absent].

    The binary kind of each: the score is the squared error of that one probability, in [0, 1], and the bins hold it,
    not the larger of the two answers.

    Args:
        logits: [N, C].   labels: [N].   seen: [C] bool.
    Returns: all None without rows, or where only one group has classes and there is no question.
    """
    z, y, is_seen = checked(logits, labels, seen)
    return group_question_of(absent_log_odds(z, is_seen), ~is_seen.to(y.device)[y], bins=bins)


def group_question_of(log_odds: Tensor, is_absent: Tensor, *, bins: int = 15) -> Confidence:
    """The same from the log-odds [N] of the question and its answers [N] bool."""
    if not bool(log_odds.isfinite().any()):
        return Confidence(None, None, None)
    p = log_odds.sigmoid()
    wrong_way = torch.where(is_absent, -log_odds, log_odds)
    return Confidence(
        nll=float(softplus(wrong_way).mean()), brier=binary_brier(p, is_absent), ece=ece(p, is_absent, bins=bins)
    )


def absent_log_odds(logits: Tensor, seen: Tensor) -> Tensor:
    """log P(absent | x) - log P(seen | x), [N] float64; infinite where a group has no classes. An offset adds to it."""
    seen = seen.to(logits.device)
    found = torch.empty(len(logits), dtype=torch.float64, device=logits.device)
    for block in row_blocks(logits):
        rows = logits[block].to(torch.promote_types(logits.dtype, torch.float32))
        found[block] = rows[:, ~seen].logsumexp(dim=1).double() - rows[:, seen].logsumexp(dim=1).double()
    return found
