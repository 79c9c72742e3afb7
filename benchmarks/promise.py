"""Whether the promised budget is kept: rows are divided again and again, and what is really lost is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scenarios.cache import Record

from reclaim.metrics.margins import margins
from reclaim.mixing import WEIGHTS, most_promising
from reclaim.selectors import Evidence
from reclaim.selectors.auto import auto
from reclaim.snapshot import Snapshot

__all__ = ["losses", "promise_table"]

LEAST = 200  # held-out rows from which `repair` promises anything


def losses(record: Record, draws: int, budget: float, confidence: float | None) -> list[float]:
    """Seen accuracy lost against the fine-tuned network on rows that chose nothing, for every draw with a promise.

    Half of all seen rows, "held" and "test" together, choose as in `repair`: one half of them the mixture, the other
    the offset. The rest are judged.
    """
    seen, y = record["seen"], torch.cat([record["labels.held"], record["labels.test"]])
    mine = seen[y]
    y, z = y[mine], torch.cat([record["mix.held"], record["mix.test"]], dim=1)[:, mine].float()
    made, cut = [], len(y) // 2
    if cut < LEAST:
        return []
    for draw in range(draws):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(draw))
        first, second, rest = order[: cut // 2], order[cut // 2 : cut], order[cut:]
        part = lambda index, rows: Snapshot(z[index][rows], y[rows], seen, finite=True)  # noqa: E731
        mixed = {weight: part(index, first) for index, weight in enumerate(WEIGHTS)}
        weight = WEIGHTS.index(most_promising(mixed[0.0], mixed, budget=budget).weight)
        evidence = Evidence(seen=part(weight, second), before=part(0, second), reference=part(-1, second))
        chosen = auto(evidence, budget=budget, confidence=confidence)
        if chosen.guarantee is None:
            continue
        was, now = (margins(z[index][rest], y[rest], seen) for index in (-1, weight))
        made.append(float(was.right.double().mean() - (now.hit & (now.margin > chosen.offset)).double().mean()))
    return made


def promise_table(found: Mapping[str, Sequence[Sequence[float]]], budget: float) -> str:
    """One line per family, and one for all: draws with a promise, mean loss, and the share above the budget."""
    lines = ["| family | draws | mean loss | above the budget |", "| --- | --- | --- | --- |"]
    pooled = {name: np.concatenate([np.array(part) for part in parts]) for name, parts in found.items()}
    for name, lost in {**pooled, "all": np.concatenate(list(pooled.values()))}.items():
        if len(lost):
            lines.append(f"| {name} | {len(lost):,} | {lost.mean():.4f} | {(lost > budget).mean():.1%} |")
    return "\n".join(lines)
