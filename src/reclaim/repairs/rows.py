"""Which rows choose and which report."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.data.records import Data, Split
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["check_enough", "divide", "divide_rows", "halves"]

R = TypeVar("R", Split, Snapshot)


def divide(data: Data, held_out: float = 0.5, seed: int = 0) -> tuple[Split, Split]:
    """Rows that choose, of seen classes only, and rows that report, of all.

    With a "val" and a "test" split these are they. With one split besides "train", a random share of it chooses and
    the rest reports. Training rows never serve: a model is too sure of what it was trained on.

    Raises: BadInput if there are no such rows.
    """
    if {"val", "test"} <= data.splits.keys():
        chooses, reports = data.seen_only("val"), data.split("test")
    else:
        kept = [name for name in data.splits if name != "train"]
        if len(kept) != 1:
            raise BadInput(
                f"a repair needs rows the model was not trained on, and {data.source} has the splits "
                f"{', '.join(data.splits)}.\n  Give a val/ and a test/ split, or one split to divide."
            )
        whole = data.split(kept[0])
        chooses, reports = divide_rows(whole, data.seen[whole.labels], held_out, seed)
    check_enough(chooses, reports, data.source)
    return chooses, reports


def divide_rows(rows: R, seen: Tensor, held_out: float = 0.5, seed: int = 0) -> tuple[R, R]:
    """A random share of the rows, of which those choose that are `seen` ([N] bool); the rest reports.

    Raises: BadInput for a share that leaves one side nothing.
    """
    if not 0 < held_out < 1:
        raise BadInput(f"the share of rows that choose must be between 0 and 1; given: {held_out}.")
    order, cut = _shuffled(len(rows), seed), round(held_out * len(rows))
    first, rest = order[:cut].sort().values, order[cut:].sort().values
    return rows.rows(first[seen[first]]), rows.rows(rest)


def check_enough(chooses: Split | Snapshot, reports: Split | Snapshot, source: str) -> None:
    """Raise if there is nothing to choose with or to report on."""
    if len(chooses) < 2 or not len(reports):
        raise BadInput(
            f"{source} leaves {len(chooses)} held-out rows of seen classes to choose with and {len(reports)} rows "
            "to report on; at least 2 and 1 are needed."
        )


def halves(rows: R, seed: int) -> tuple[R, R]:
    """Two random halves of the rows, each in its own order."""
    order = _shuffled(len(rows), seed + 1)
    cut = len(rows) // 2
    return rows.rows(order[:cut].sort().values), rows.rows(order[cut:].sort().values)


def _shuffled(n: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
