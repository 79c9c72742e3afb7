"""Time of the selectors that need held-out seen rows and the pretrained model, beside one read of both models' logits.

The last line is what `repair` does with a mixture: shifts of single classes, then auto.

Run: python -m benchmarks.repairs.choosing

One thread, CPU seconds, median of five; 50,000 rows and 1,000 classes, half of them seen, float32.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from reclaim.calibration.evidence import Evidence
from reclaim.core.registry import find
from reclaim.repairs.choices import Choices
from reclaim.repairs.plan import plan
from reclaim.repairs.rows import Rows
from reclaim.snapshots.snapshot import Snapshot

ROWS, CLASSES = 50_000, 1_000
SELECTORS = (
    "average-logit-gap",
    "gap-matching",
    "own-class-left-out",
    "pseudo-absent",
    "larger-of-two",
    "retention-budget",
    "auto",
)


def evidence() -> Evidence:
    """Noise with a peak at the label, sharper after fine-tuning, the absent columns sunk."""
    random = torch.Generator().manual_seed(0)
    seen, y = torch.arange(CLASSES) < CLASSES // 2, torch.randint(0, CLASSES // 2, (ROWS,), generator=random)
    before = torch.randn(ROWS, CLASSES, generator=random)
    before[torch.arange(ROWS), y] += 3
    after = before + 0.3 * torch.randn(ROWS, CLASSES, generator=random) - 5.0 * ~seen
    after[torch.arange(ROWS), y] += 1
    rows = Snapshot(after, y, seen)
    return Evidence(seen=rows, before=Snapshot(before, y, seen), reference=rows)


@dataclass(frozen=True)
class Ends:
    """Mixtures of which only the two networks are asked for; all rows are the same ones."""

    before: Snapshot
    after: Snapshot

    def answers(self, alpha: float, rows: str) -> Snapshot:
        """The pretrained network's, or the fine-tuned one's."""
        return self.after if alpha else self.before


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Median CPU seconds."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    given = evidence()
    assert given.seen is not None and given.before is not None
    both = given.seen.logits.numpy(), given.before.logits.numpy()
    read = seconds(lambda: [z.max(axis=1) for z in both])
    print(f"{ROWS:,} × {CLASSES:,}; one read of both models' logits is {1e3 * read:.1f} ms\n")
    print("| selector | ms | reads |\n| --- | --- | --- |")
    for name in SELECTORS:
        spent = seconds(partial(find("selectors", name), given))
        print(f"| {name} | {1e3 * spent:.0f} | {spent / read:.1f} |")
    ends, rows = Ends(given.before, given.seen), Rows("all", "choose", "certify", "none")
    spent = seconds(lambda: plan(ends, rows, Choices(mix=1.0)))
    print(f"| shifts of single classes, then auto | {1e3 * spent:.0f} | {spent / read:.1f} |")


if __name__ == "__main__":
    main()
