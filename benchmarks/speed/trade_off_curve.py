"""The trade-off curve and its area, beside one read of the logits and beside brute force.

Run: python -m benchmarks.speed.trade_off_curve [--repeats 9]

One read is NumPy's ``logits.max(axis=1)``, which uses one core. Brute force evaluates all logits once per breakpoint,
as the published code does. Times are medians of wall-clock time, with all cores and with one; extra memory is the peak
resident memory during the call beyond what was resident before it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.memory import extra_memory
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import area_of, best, curve_of, steps_of

SIZES = [(n, c) for c in (65, 1000) for n in (1_000, 10_000, 50_000, 200_000)]
BRUTE_FORCE_UP_TO = 1_000  # rows


def data(n: int, c: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits that are mostly right within a group, half of the classes absent, in random order of columns."""
    random = torch.Generator().manual_seed(0)
    seen = torch.zeros(c, dtype=torch.bool)
    seen[torch.randperm(c, generator=random)[: c // 2]] = True
    y = torch.randint(0, c, (n,), generator=random)
    z = torch.randn(n, c, generator=random)
    z[torch.arange(n), y] += 4
    return z.sub_(3.0 * ~seen), y, seen


def ours(z: Tensor, y: Tensor, seen: Tensor) -> tuple[float, float]:
    """Curve, best point and area."""
    steps = steps_of(margins(z, y, seen))
    found = area_of(steps)
    assert found is not None
    return best(curve_of(steps)).ceiling, found[0]


def brute_force(z: Tensor, y: Tensor, seen: Tensor) -> tuple[float, float]:
    """The same by one pass over all logits per breakpoint."""
    z = z.double()
    breaks = (z[:, seen].amax(1) - z[:, ~seen].amax(1)).unique()
    offsets = torch.cat([breaks[:1] - 1, (breaks[1:] + breaks[:-1]) / 2, breaks[-1:] + 1])
    is_seen, absent = seen[y], (~seen).double()
    right = torch.stack([(z + offset * absent).argmax(1) == y for offset in offsets])
    x, u = right[:, is_seen].double().mean(1), right[:, ~is_seen].double().mean(1)
    return float(right.double().mean(1).max()), float(torch.trapezoid(u.flip(0), x.flip(0)))


def milliseconds(call: Callable[[], object], repeats: int, threads: int) -> float:
    """Median wall-clock time."""
    torch.set_num_threads(threads)
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats, cores = parser.parse_args().repeats, os.cpu_count() or 1
    print(f"{cores} cores, float32, median of {repeats}, torch {torch.__version__}, NumPy {np.__version__}\n")
    print(f"| N | C | one read, ms | curve and area, {cores} threads | 1 thread | brute force, ms | extra memory |")
    print("|---|---|---|---|---|---|---|")
    for n, c in SIZES:
        z, y, seen = data(n, c)
        call = partial(ours, z, y, seen)
        read = milliseconds(partial(z.numpy().max, axis=1), repeats, 1)
        one, all_cores = (milliseconds(call, repeats, threads) for threads in (1, cores))
        slow = "–"
        if n <= BRUTE_FORCE_UP_TO:
            np.testing.assert_allclose(call(), brute_force(z, y, seen), atol=1e-12)
            slow = f"{milliseconds(partial(brute_force, z, y, seen), 1, cores):,.0f}"
        memory = extra_memory(call)
        print(
            f"| {n:,} | {c:,} | {read:.2f} | {all_cores:.2f} ms, {all_cores / read:.1f} reads | {one:.2f} ms, "
            f"{one / read:.1f} reads | {slow} | {memory / 2**20:.1f} MiB, {memory / (4 * n * c):.1%} of the input |"
        )


if __name__ == "__main__":
    main()
