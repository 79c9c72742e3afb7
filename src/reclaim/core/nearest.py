"""The nearest of the names that there are, for a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["edits", "nearest"]


def edits(a: str, b: str) -> int:
    """How many letters must be put in, left out or replaced, or neighbours change places, to make `b` of `a`.

    Source: the optimal string alignment distance.
    """
    above: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (letter != other)))
            if i > 1 and j > 1 and a[i - 2] == other and letter == b[j - 2]:
                row[-1] = min(row[-1], above[j - 2] + 1)
        above, last = last, row
    return last[-1]


def nearest(name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
    """The names that are like one, those of the fewest edits first, and of as many those of its length.

    Args:
        cutoff: the share of letters that a name must have in common with it.
    """
    near = difflib.get_close_matches(name, list(known), n=10, cutoff=cutoff)
    return sorted(near, key=lambda other: (edits(name, other), abs(len(name) - len(other))))[:most]
