"""What is noticed of images while they are read: said once, counted by row, over all processes that read."""

from __future__ import annotations

import logging
import mmap

import numpy as np

from reclaim.core.terminal import printable

__all__ = ["KINDS", "Noticed"]

log = logging.getLogger(__name__)

KINDS = {
    "turned": "has an orientation tag; such images are read as stored, and turned with the argument `upright`",
    "several_frames": "has several pictures (an animation, or pages); of such files the first one is read",
    "transparent": "is transparent in part; a network of other than 4 channels gets the colours stored there",
}


class Noticed:
    """Which rows have something that is worth a word.

    Rows are marked in memory that processes share which were forked after it was made, as workers of a loader are.
    """

    def __init__(self, rows: int) -> None:
        self.marks = np.frombuffer(mmap.mmap(-1, rows + 1), dtype=np.uint8)  # the last byte: what has been said

    def mark(self, row: int, kind: str, name: str) -> None:
        """Mark a row, and say it if it is the first of its kind."""
        bit = 1 << list(KINDS).index(kind)
        if not self.marks[-1] & bit:
            self.marks[-1] |= bit
            log.warning("%s %s.", printable(name), KINDS[kind])
        self.marks[row] |= bit

    def counts(self) -> dict[str, int]:
        """How many of the rows that have been read are of each kind that occurs."""
        found = {kind: int((self.marks[:-1] & (1 << i) > 0).sum()) for i, kind in enumerate(KINDS)}
        return {kind: count for kind, count in found.items() if count}
