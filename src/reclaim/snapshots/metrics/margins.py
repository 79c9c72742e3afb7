"""The few numbers per row from which every group accuracy, trade-off and most selectors follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks

__all__ = ["Margins", "group_bests", "margins"]


@dataclass(frozen=True)
class Margins:
    """One row of logits, seen from its label. All tensors are [N]; float64, but for the two masks.

    Attributes:
        margin: largest seen logit - largest absent logit, ``d``; an offset above it makes the answer an absent class.
        left_out: the same with the row's own class deleted from its group.
        hit: whether the largest logit of the label's own group is the label's. Equal logits: the first column wins.
        right: whether the largest logit of all is the label's, likewise.
        is_seen: whether the label is a seen class.
    """

    margin: Tensor
    left_out: Tensor
    hit: Tensor
    right: Tensor
    is_seen: Tensor


def group_bests(logits: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The largest seen and the largest absent logit of each row, [N] each; -inf where a group is empty."""
    best_seen, best_absent, _ = _bests(logits, seen, None)
    return best_seen, best_absent


def margins(logits: Tensor, labels: Tensor, seen: Tensor) -> Margins:
    """Everything about [N, C] logits that an offset can change, from one read of them."""
    seen = seen.to(logits.device)
    is_seen = seen[labels]
    best_seen, best_absent, own = _bests(logits, seen, labels)
    rival, other = torch.where(is_seen, best_seen, best_absent), torch.where(is_seen, best_absent, best_seen)
    hit, right = own > rival, own > torch.maximum(rival, other)
    for rows in (own == rival).nonzero().squeeze(1).split(256):  # equal logits: the first column wins
        group = logits[rows].masked_fill(seen != is_seen[rows, None], -torch.inf)
        hit[rows] = group.argmax(dim=1) == labels[rows]
    for rows in (own == torch.maximum(rival, other)).nonzero().squeeze(1).split(256):
        right[rows] = logits[rows].argmax(dim=1) == labels[rows]
    sign = torch.where(is_seen, 1.0, -1.0).double()
    margin = sign * (torch.maximum(own, rival).double() - other.double())
    return Margins(margin, sign * (rival.double() - other.double()), hit, right, is_seen)


def _bests(logits: Tensor, seen: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Largest logit per row and group, [N] each. With `labels`, their columns are left out and given as the third."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    zero = torch.zeros(len(seen), dtype=dtype, device=logits.device)
    inside = seen.to(logits.device)
    sunk = (
        zero.masked_fill(~inside, -torch.inf),
        zero.masked_fill(inside, -torch.inf),
    )  # leave one group, sink the other
    best_seen, best_absent, own = zero.new_empty(3, len(logits))
    buffer = zero.new_empty(0)
    for block in row_blocks(logits):
        rows = logits[block]
        for best, mask in zip((best_seen, best_absent), sunk, strict=True):
            group = torch.add(rows, mask, out=buffer.resize_(rows.shape))
            if labels is not None:
                group.scatter_(1, labels[block, None], -torch.inf)
            torch.amax(group, dim=1, out=best[block])
        if labels is not None:
            own[block] = rows.gather(1, labels[block, None]).squeeze(1)
    return best_seen, best_absent, own
