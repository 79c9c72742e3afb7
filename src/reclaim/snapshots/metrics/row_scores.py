"""What the softmax says of each row, from one read of the logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks
from reclaim.snapshots.shards import by_rows

__all__ = ["RowScores", "exponentials", "row_scores", "top_label"]

_LOG2E = math.log2(math.e)


@dataclass(frozen=True)
class RowScores:
    """One softmax output, seen from its label. All tensors are [N] float64.

    Attributes:
        nll: negative log-probability of the label, in nats.
        brier: squared distance between the probabilities and the one-hot label, in [0, 2].
        top: the largest probability.
        right: 1 where the largest logit is the label's, else 0. Equal logits: the first column wins.
    """

    nll: Tensor
    brier: Tensor
    top: Tensor
    right: Tensor

    def rows(self, which: Tensor | slice) -> RowScores:
        """The same of only the rows `which` ([N] bool, indices, or a slice, which copies none)."""
        return RowScores(self.nll[which], self.brier[which], self.top[which], self.right[which])


def row_scores(logits: Tensor, labels: Tensor) -> RowScores:
    """All four scores of [N, C] logits and [N] labels that are known to fit together.

    Of several processes each reads its own rows.
    """
    return RowScores(*by_rows(_scores, logits, labels))


def _scores(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `RowScores` holds, in its order."""
    peak, shift, total, squares, own, own_e = logits.new_empty(6, len(logits), dtype=_working(logits))
    for block, rows, e in exponentials(logits, peak, shift, total):
        own[block] = rows.gather(1, labels[block, None]).squeeze(1)
        own_e[block] = e.gather(1, labels[block, None]).squeeze(1)
        squares[block] = e.square_().sum(dim=1)
    top = _top(peak, shift, total)
    nll = total.double().log() - _power(own, shift) / _LOG2E
    brier = squares.double() / total.double().square() - 2 * (own_e.double() / total.double()) + 1
    return nll, brier, top, _right(logits, labels, own == peak, top)


def top_label(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Only `top` and `right` of the row scores: one maximum, one exponential and one sum per logit."""
    top, right = by_rows(_top_label, logits, labels)
    return top, right


def _top_label(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    peak, shift, total, own = logits.new_empty(4, len(logits), dtype=_working(logits))
    for block, rows, _ in exponentials(logits, peak, shift, total):
        own[block] = rows.gather(1, labels[block, None]).squeeze(1)
    top = _top(peak, shift, total)
    return top, _right(logits, labels, own == peak, top)


def exponentials(logits: Tensor, peak: Tensor, shift: Tensor, total: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Blocks of rows, their logits [R, C], and exp(z - shift) [R, C] in a buffer that is used again.

    Fills `peak`, the largest logit of each row, and `total`, the sum of its exponentials. The shift is 0 where no
    exponential can overflow, nor vanish and matter, which spares a pass; else it is the peak. Taken as powers
    of two, which are quicker.
    """
    buffer = peak.new_empty(0)
    for block in row_blocks(logits):
        rows = logits[block].to(peak.dtype)
        e = buffer.resize_(rows.shape)
        torch.amax(rows, dim=1, out=peak[block])
        low, high = peak[block].aminmax()
        if low >= -30 and high <= 30:
            shift[block] = 0
            torch.mul(rows, _LOG2E, out=e)
        else:
            shift[block] = peak[block]
            torch.sub(rows, peak[block, None], out=e).mul_(_LOG2E)
        torch.sum(e.exp2_(), dim=1, out=total[block])
        yield block, rows, e


def _power(z: Tensor, shift: Tensor) -> Tensor:
    """[N] float64, of which power of two a logit is the exponent, rounded as in the sum: there the error cancels."""
    return ((z - shift) * _LOG2E).double()


def _top(peak: Tensor, shift: Tensor, total: Tensor) -> Tensor:
    """The largest probability; a sum of n terms, rounded, may fall below the largest of them."""
    return (_power(peak, shift).exp2() / total.double()).clamp_max(1)


def _right(logits: Tensor, labels: Tensor, highest: Tensor, top: Tensor) -> Tensor:
    """Whether argmax is the label, [N] float64, given where the label's logit is the highest, perhaps with others.

    Two equal logits have at most half the probability each, so only such rows are looked at again.
    """
    right, buffer = highest.double(), logits.new_empty(0)
    for rows in (highest & (top <= 0.501)).nonzero().squeeze(1).split(512):
        column = labels[rows, None]
        again = torch.index_select(logits, 0, rows, out=buffer.resize_(len(rows), logits.shape[1]))
        own = again.gather(1, column)
        tied = rows[(again.scatter_(1, column, -torch.inf).amax(dim=1, keepdim=True) == own).squeeze(1)]
        right[tied] = (logits[tied].argmax(dim=1) == labels[tied]).double()
    return right


def _working(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)
