"""Whether the promised budget is kept: rows are divided again and again, and what is really lost is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from benchmarks.repairs.cases import AFTER, Answers, Recorded
from benchmarks.repairs.scenarios.cache import Record
from reclaim.repairs.choices import Choices
from reclaim.repairs.plan import plan
from reclaim.repairs.rows import Rows, separates
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["losses", "promise_table"]


def losses(record: Record, draws: int, budget: float, confidence: float | None) -> list[float]:
    """Seen accuracy lost against the fine-tuned network on rows that chose nothing, for every draw with a promise.

    Half of all seen rows, "held" and "test" together, choose as in `repair`: one half of them the mixture, the other
    the offset. The rest are judged.
    """
    seen, y = record["seen"], torch.cat([record["labels.held"], record["labels.test"]])
    mine = seen[y]
    y, z = y[mine], torch.cat([record["mix.held"], record["mix.test"]], dim=1)[:, mine].float()
    made, cut = [], len(y) // 2
    choices = Choices(numbers={"budget": budget} | ({} if confidence is None else {"confidence": confidence}))
    if not separates(cut, choices):
        return []
    every = Answers(z, {}, y, seen)
    for draw in range(draws):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(draw))
        first, second, rest = (every.rows(part) for part in (order[: cut // 2], order[cut // 2 : cut], order[cut:]))
        chosen = plan(Recorded(), Rows(every, first, second, rest), choices)
        if chosen.offset.guarantee is not None:
            was, now = rest[AFTER], rest["weights", chosen.alpha].through(chosen.offset)
            made.append(_right(was) - _right(now))
    return made


def _right(rows: Snapshot) -> float:
    return float(margins(rows.logits, rows.known_labels, rows.seen).right.double().mean())


def promise_table(found: Mapping[str, Sequence[Sequence[float]]], budget: float) -> str:
    """One line per family, and one for all: draws with a promise, mean loss, and the share above the budget."""
    lines = ["| family | draws | mean loss | above the budget |", "| --- | --- | --- | --- |"]
    pooled = {name: np.concatenate([np.array(part) for part in parts]) for name, parts in found.items()}
    for name, lost in {**pooled, "all": np.concatenate(list(pooled.values()))}.items():
        if len(lost):
            lines.append(f"| {name} | {len(lost):,} | {lost.mean():.4f} | {(lost > budget).mean():.1%} |")
    return "\n".join(lines)
