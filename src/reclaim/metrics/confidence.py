"""Is the probability honest? From logits, in blocks, without a second [N, C] array."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reclaim.arrays import Array, row_blocks
from reclaim.metrics.accuracy import checked

__all__ = ["Confidence", "confidence", "ece"]


@dataclass(frozen=True)
class Confidence:
    """Confidence of the softmax of the logits; None without rows.

    Attributes:
        nll: mean negative log-likelihood, in nats.
        brier: mean squared distance between probabilities and the one-hot label, in [0, 2].
        ece: expected calibration error of the top label, see `ece`.
    """

    nll: float | None
    brier: float | None
    ece: float | None


def confidence(logits: Array, labels: Array, *, bins: int = 15) -> Confidence:
    """NLL, Brier score and ECE of [N, C] logits and [N] labels."""
    z, y, _ = checked(logits, labels, torch.ones(logits.shape[1], dtype=torch.bool))
    if not len(z):
        return Confidence(None, None, None)
    log_p, squares, top, right = (torch.empty(len(z), dtype=torch.float64) for _ in range(4))
    for block in row_blocks(z):
        column = y[block, None]
        logp = z[block].to(torch.promote_types(z.dtype, torch.float32)).log_softmax(dim=1)
        p = logp.exp()
        own = p.gather(1, column).squeeze(1)
        best, guess = p.max(dim=1)
        log_p[block] = logp.gather(1, column).squeeze(1).double()
        squares[block] = (p.square().sum(dim=1) - 2 * own + 1).double()
        top[block], right[block] = best.double(), (guess == y[block]).double()
    return Confidence(nll=-float(log_p.mean()), brier=float(squares.mean()), ece=ece(top, right, bins=bins))


def ece(top: Tensor, right: Tensor, *, bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence [N] and correctness [N] over equal-width bins (l, u].

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    Differs: a confidence of exactly 0 belongs to the first bin instead of none.
    """
    index = (top * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, (right - top).double())
    return float(gaps.abs().sum() / len(top))
