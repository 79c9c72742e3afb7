"""Is the label an absent class? The classifier's answer to that one question, and whether its probability is honest."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reclaim.core.arrays import Array
from reclaim.core.numbers import Few, in_range
from reclaim.snapshots.metrics.accuracy import checked
from reclaim.snapshots.metrics.brier import binary_brier
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.confidence import Confidence
from reclaim.snapshots.metrics.row_scores import exponentials
from reclaim.snapshots.shards import by_rows

__all__ = ["absent_log_odds", "group_question", "group_question_of"]


@in_range
def group_question(logits: Array, labels: Array, seen: Array, *, bins: Few = 15) -> Confidence:
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
    """log P(absent | x) - log P(seen | x), [N] float64; infinite where a group has no classes. An offset adds to it.

    Of several processes each reads its own rows.
    """
    (odds,) = by_rows(partial(_log_odds, seen), logits)
    return odds


def _log_odds(seen: Tensor, logits: Tensor) -> tuple[Tensor]:
    seen = seen.to(logits.device)
    if seen.all() or not seen.any():
        return (logits.new_full((len(logits),), -torch.inf if seen.all() else torch.inf, dtype=torch.float64),)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    groups = torch.stack([~seen, seen]).to(dtype)
    peak, shift, total, absent, present = logits.new_empty(5, len(logits), dtype=dtype)
    for block, _, e in exponentials(logits, peak, shift, total):
        absent[block], present[block] = e @ groups[0], e @ groups[1]
    odds = absent.double().log() - present.double().log()
    for rows in (
        (torch.minimum(absent, present) < 1e-30).nonzero().squeeze(1).split(512)
    ):  # what vanished beside the peak
        again = logits[rows].to(dtype)
        odds[rows] = again[:, ~seen].logsumexp(dim=1).double() - again[:, seen].logsumexp(dim=1).double()
    return (odds,)
