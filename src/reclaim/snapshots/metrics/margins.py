"""The few numbers per row from which every group accuracy, trade-off and most selectors follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks
from reclaim.snapshots.shards import by_rows

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

    def bests(z: Tensor) -> tuple[Tensor, ...]:
        return _bests(z, seen, None)[:2]

    best_seen, best_absent = by_rows(bests, logits)
    return best_seen, best_absent


def margins(logits: Tensor, labels: Tensor, seen: Tensor) -> Margins:
    """Everything about [N, C] logits that an offset can change, from one read of them.

    Of several processes each reads its own rows.
    """
    return Margins(*by_rows(partial(_margins, seen), logits, labels))


def _margins(seen: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """What `Margins` holds, in its order."""
    seen = seen.to(logits.device)
    is_seen = seen[labels]
    best_seen, best_absent, own = _bests(logits, seen, labels)
    rival, other = torch.where(is_seen, best_seen, best_absent), torch.where(is_seen, best_absent, best_seen)
    highest = torch.maximum(rival, other)
    hit, right = own > rival, own > highest
    tied = ((own == rival) | (own == highest)).nonzero().squeeze(1)  # equal logits: the first column wins
    for rows in tied.split(256) if len(tied) else ():
        again = logits[rows]
        right[rows] = again.argmax(dim=1) == labels[rows]
        group = again.masked_fill(seen != is_seen[rows, None], -torch.inf)
        hit[rows] = group.argmax(dim=1) == labels[rows]
    other = other.double()
    ahead, behind = torch.maximum(own, rival).double() - other, rival.double() - other
    return torch.where(is_seen, ahead, -ahead), torch.where(is_seen, behind, -behind), hit, right, is_seen


def _bests(logits: Tensor, seen: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Largest logit per row and group, [N] each. With `labels`, their columns are left out and given as the third."""
    if logits.device.type != "cpu":
        return _bests_in_few_kernels(logits, seen.to(logits.device), labels)
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


def _bests_in_few_kernels(logits: Tensor, seen: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The same for a card, where a copy with the columns of each group side by side costs less than two with one sunk.

    Of the logits one read, one copy and one read of that; a CPU picks columns too slowly for it.
    """
    order = (~seen).byte().argsort(stable=True)  # the seen columns, then the absent ones
    place, k = order.argsort(), int(seen.sum())
    best_seen, best_absent, own = logits.new_full((3, len(logits)), -torch.inf)
    for block in row_blocks(logits):
        grouped = logits[block].index_select(1, order)
        if labels is not None:
            at = place[labels[block], None]
            own[block] = grouped.gather(1, at).squeeze(1)
            grouped.scatter_(1, at, -torch.inf)
        for best, group in ((best_seen, grouped[:, :k]), (best_absent, grouped[:, k:])):
            if group.shape[1]:
                torch.amax(group, dim=1, out=best[block])
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return best_seen.to(dtype), best_absent.to(dtype), own.to(dtype)
