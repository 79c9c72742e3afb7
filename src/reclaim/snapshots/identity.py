"""Which rows these are, whatever their file or split is called, in whatever order: a few fingerprints of logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks
from reclaim.core.several import several
from reclaim.snapshots.shards import Shards

__all__ = ["row_identities", "shared_rows"]

_KEPT = 32  # fingerprints: those with the smallest numbers, so that any part of the rows keeps its share of them
_COLUMNS = 6  # of which a row's fingerprint is made
_UPPER = np.uint64(0xFFFFFFFF00000000)  # from the first column, by which rows are ranked
_ENOUGH = 4  # fingerprints below which nothing is concluded


def row_identities(logits: Tensor, classes: Sequence[str]) -> tuple[str, ...]:
    """Fingerprints of some rows [N, C]: the smallest ones. Order of rows and columns and half precision change none.

    Args:
        classes: names of the columns; the first few in alphabetical order count.
    """
    columns = torch.tensor(sorted(range(len(classes)), key=classes.__getitem__)[:_COLUMNS], device=logits.device)
    found: list[int] = []  # of most rows the first column alone is read
    us, blocks = several(), list(row_blocks(logits)) if isinstance(logits, Shards) else [slice(None)]
    mine = us.share(len(blocks)) if isinstance(logits, Shards) else range(1)
    for block in blocks[mine.start : mine.stop]:
        rows = logits[block]
        first = _mixed(_bits(rows[:, columns[:1]]))
        limit = np.partition(first, _KEPT - 1)[_KEPT - 1] if len(first) > _KEPT else first.max(initial=0)
        few = np.flatnonzero(first <= limit)
        whole = _mixed(_bits(rows[torch.from_numpy(few).to(rows.device)].index_select(1, columns)))
        pairs = (first[few] & _UPPER) | (whole >> np.uint64(32))
        found = sorted({*found, *pairs.tolist()})[:_KEPT]
    if isinstance(logits, Shards):  # each of several processes has read its own blocks
        found = sorted({number for numbers in us.each(found) for number in numbers})[:_KEPT]
    return tuple(f"{number:016x}" for number in found)


def _bits(rows: Tensor) -> np.ndarray:
    """Numbers [N, K] in half precision, as their bits."""
    return rows.to(torch.float16).cpu().numpy().view(np.uint16).astype(np.uint64)


def _mixed(bits: np.ndarray) -> np.ndarray:
    """One well-mixed number per row of [N, K] numbers, [N] uint64.

    Source: the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), once per column.
    """
    state = np.full(len(bits), 0x9E3779B97F4A7C15, np.uint64)
    for column in bits.T:
        state = state ^ column
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def shared_rows(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether most of the smaller of two sets of rows is in the other, as far as their fingerprints tell.

    Fingerprints are compared up to the number to which both sides have kept all; fewer than four there say nothing.
    """
    limit = min((max(side) for side in (ours, theirs) if len(side) == _KEPT), default="g")  # after every hex digit
    a, b = ({mark for mark in side if mark <= limit} for side in (ours, theirs))
    fewer = min(len(a), len(b))
    return fewer >= _ENOUGH and 2 * len(a & b) >= fewer
