"""Which rows these are, whatever their file or split is called, in whatever order: a few fingerprints of logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks

__all__ = ["row_identities", "shared_rows"]

_KEPT = 32  # fingerprints: those with the smallest numbers, so that any part of the rows keeps its share of them
_COLUMNS = 6  # of which a row's fingerprint is made
_ENOUGH = 4  # fingerprints below which nothing is concluded


def row_identities(logits: Tensor, classes: Sequence[str]) -> tuple[str, ...]:
    """Fingerprints of some rows [N, C]: the smallest ones. Order of rows and columns and half precision change none.

    Args:
        classes: names of the columns; the first few in alphabetical order count.
    """
    columns = torch.tensor(sorted(range(len(classes)), key=classes.__getitem__)[:_COLUMNS], device=logits.device)
    found = np.zeros(0, np.uint64)
    for block in row_blocks(logits, 64 << 20):
        bits = logits[block].index_select(1, columns).to(torch.float16).cpu().numpy().view(np.uint16)
        found = np.unique(np.concatenate([found, _mixed(bits.astype(np.uint64))]))[:_KEPT]
    return tuple(f"{int(number) >> 16:012x}" for number in found)


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
