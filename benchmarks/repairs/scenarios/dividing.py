"""How scenarios are planned, and their rows and classes divided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.repairs.scenarios.records import Recipe, Scenario
from reclaim.data.records import Split

__all__ = ["divided", "plan", "seen_classes", "split_of"]

SHARES = (20, 50, 80)


def plan(family: str, recipes: Sequence[Recipe], count: int, shifts: Sequence[str] = ("",)) -> tuple[Scenario, ...]:
    """A balanced part of all combinations: three seeds, and other seen classes every time."""
    return tuple(
        Scenario(
            family,
            share=SHARES[(i + i // len(recipes)) % len(SHARES)],
            split=i,
            recipe=recipes[i % len(recipes)],
            shift=shifts[(i + 2 * (i // 3)) % len(shifts)],
            seed=3 * i // count,
        )
        for i in range(count)
    )


def seen_classes(classes: Sequence[str], share: int, seed: int) -> tuple[str, ...]:
    """`share` per cent of the classes, drawn at random."""
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(classes[i] for i in order[: round(share * len(classes) / 100)])


def split_of(x: np.ndarray, y: Tensor) -> Split:
    """Inputs [N, …] with labels [N]."""
    return Split(y, x.__getitem__, str)


def divided(rows: Split, seed: int, **sizes: int) -> dict[str, Split]:
    """Parts of the given sizes that share no row; what is left over is dropped."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    ends = np.cumsum(list(sizes.values())).tolist()
    if ends[-1] > len(rows):
        raise ValueError(f"{ends[-1]} rows are wanted of {len(rows)}.")
    return {name: rows.rows(order[end - size : end]) for (name, size), end in zip(sizes.items(), ends, strict=True)}
