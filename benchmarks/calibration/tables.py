"""Calibrators beside those of other libraries: speed, accuracy, and what becomes of absent classes.

Run: python -m benchmarks.calibration.tables
     python -m benchmarks.calibration.tables --tables speed --sizes small --methods temperature,vector

The other libraries are no dependencies and nothing is installed here: those that cannot be imported are left out, and
named. To compare with all of them: pip install probmetrics torch-uncertainty netcal betacal (scikit-learn is there).

Everything runs on one thread. Seconds are CPU seconds of the fit alone; who takes probabilities is given them ready
made. One read is NumPy's ``logits.max(axis=1)``. Every library is called with its defaults, except for a number of bins
of 15 and where the table shows arguments. The real softmax outputs are read from the folder RECLAIM_DATA.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.calibration.clock import GivenUp, calm, first_line, seconds
from benchmarks.calibration.peers import Way, errors, importable, ways
from benchmarks.speed.memory import extra_memory
from reclaim.core.registry import find
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.row_scores import top_label

SIZES = {"small": (10_000, 100), "large": (50_000, 1_000)}
FRESH = 20_000  # rows that judge, at most
SPEED = (
    "temperature",
    "bias-corrected-temperature",
    "vector",
    "matrix",
    "dirichlet",
    "isotonic",
    "histogram",
    "beta",
    "ensemble-temperature",
    "ece",
)
SMALL_ONLY = ("beta",)
NETWORKS = ("wrn16_4_c10", "lenet5_c10", "wrn16_4_c100", "lenet5_c100")


@dataclass(frozen=True)
class Rows:
    """Logits [N, C] and labels [N]."""

    z: Tensor
    y: Tensor


# Data


def synthetic(n: int, c: int, seed: int, lift: tuple[float, float]) -> Rows:
    """Logits of a network that is too confident, by another factor and bias for each class.

    Args:
        lift: range of what one logit of each row has more than the others.
    """
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(n, c, generator=random).mul_(2)
    low, high = lift
    z[torch.arange(n), torch.randint(c, (n,), generator=random)] += low + (high - low) * torch.rand(n, generator=random)
    scale, shift = truth(c)
    labels = []
    for block in z.split(1_000):
        noise = torch.empty_like(block).exponential_(generator=random).log_()  # argmax(t - log E) is drawn from softmax
        labels.append((block * scale + shift - noise).argmax(dim=1))
    return Rows(z, torch.cat(labels))


def truth(c: int) -> tuple[Tensor, Tensor]:
    """The factors and biases under which labels are drawn."""
    random = torch.Generator().manual_seed(c)
    scale = torch.empty(c).normal_(0, 0.15, generator=random).exp_() / 1.7
    return scale, torch.empty(c).normal_(0, 0.5, generator=random)


# Measuring


def nll(made: Tensor, y: Tensor) -> str:
    """Mean negative log-likelihood; where labels have the probability 0, their share too."""
    loss = -made.double().log_softmax(dim=1).gather(1, y[:, None]).squeeze(1)
    never = float(loss.isinf().double().mean())
    return f"inf (p = 0 for {never:.1%})" if never else f"{float(loss.mean()):.4f}"


def fitted(way: Way, rows: Rows, seen: Tensor | None, on: Sequence[Tensor], give_up: float) -> list[Tensor] | str:
    """What the fit to `rows` makes of other logits, or why there is nothing."""
    try:
        with calm(give_up):
            made = way.fit(way.given(rows.z), rows.y, seen)
            return [made(way.given(z)).detach() for z in on]
    except GivenUp:
        return f"given up after {give_up:,.0f} s"
    except Exception as error:
        return first_line(error)


def row(*cells: str) -> None:
    """One row of a Markdown table, at once."""
    print("| " + " | ".join(cells) + " |", flush=True)


def head(*cells: str) -> None:
    """Its first two rows."""
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


# The tables


def speed(size: str, every: list[Way], there: set[str], wanted: Sequence[str], options: argparse.Namespace) -> None:
    """Seconds, reads and the likelihood of fresh rows."""
    n, c = SIZES[size]
    rows, fresh = synthetic(n, c, 0, (4, 16)), synthetic(min(n, FRESH), c, 1, (4, 16))
    read = seconds(lambda: rows.z.numpy().max(axis=1), 9)
    scale, shift = truth(c)
    print(f"\n## Speed, {n:,} × {c:,}: one read is {1e3 * read:.2f} ms\n")
    head("method", "library", "call", "seconds", "reads", f"NLL of {len(fresh.y):,} fresh rows")
    row("–", "–", "as they are", "–", "–", nll(fresh.z, fresh.y))
    row("–", "–", "the map that drew the labels", "–", "–", nll(fresh.z * scale + shift, fresh.y))
    for method in wanted:
        if method in SMALL_ONLY and size != "small":
            continue
        for way in (way for way in every if way.method == method):
            spent, judged = timed(way, rows, fresh, options)
            cells = ("–", "–") if spent is None else (f"{spent:.4g}", f"{spent / read:,.0f}")
            row(method, way.library, way.call, *cells, judged)
    if "ece" in wanted:
        for library, call, given, of in errors(there, c):
            z = given(rows.z)
            with calm(options.give_up):
                value = of(z, rows.y)
                spent = seconds(partial(of, z, rows.y), options.repeats)
            row("ece", library, call, f"{spent:.4g}", f"{spent / read:.1f}", f"(ECE {value:.6f})")
    if "temperature" in wanted:
        fit = partial(find("calibrators", "temperature").fit, rows.z, rows.y)
        extra = statistics.median(extra_memory(fit) for _ in range(3))
        print(f"\nExtra memory of our temperature fit: {extra / 2**20:.1f} MiB.", flush=True)


def timed(way: Way, rows: Rows, fresh: Rows, options: argparse.Namespace) -> tuple[float | None, str]:
    """Seconds of the fit, and the likelihood of fresh rows; or no seconds and why."""
    given = way.given(rows.z)
    made: list[Callable[[Any], Any]] = []

    def fit() -> None:
        with calm(options.give_up):
            made[:] = [way.fit(given, rows.y, None)]

    try:
        spent = seconds(fit, options.repeats, options.limit)
        with calm(options.give_up):
            return spent, nll(made[0](way.given(fresh.z)), fresh.y)
    except GivenUp:
        return None, f"given up after {options.give_up:,.0f} s"
    except Exception as error:
        return None, first_line(error)


def accuracy(every: list[Way], options: argparse.Namespace) -> None:
    """Likelihood and calibration error of real networks' outputs."""
    path = Path(os.environ.get("RECLAIM_DATA", "../shared/data")) / "logits" / "cifar_softmax_netcal.npz"
    if not path.exists():
        print("\nleft out: accuracy on real outputs (no logits/cifar_softmax_netcal.npz in RECLAIM_DATA)")
        return
    print("\n## Accuracy on real outputs: NLL / ECE of rows 5,000 to 9,999, fitted on the 5,000 before\n")
    head("method", "library", "call", *(name.replace("_", " ") for name in NETWORKS))
    with np.load(path, allow_pickle=False) as file:
        data = [
            Rows(
                torch.from_numpy(file[f"{name}_probs"]).clamp_min(1e-38).log(),
                torch.from_numpy(file[f"{name}_labels"]).long(),
            )
            for name in NETWORKS
        ]
    row("–", "–", "as they are", *(scores(part.z[5_000:], part.y[5_000:]) for part in data))
    for way in sorted(every, key=lambda way: way.method):
        cells = []
        for part in data:
            first = Rows(part.z[:5_000], part.y[:5_000])
            made = fitted(way, first, None, [part.z[5_000:]], options.give_up)
            cells.append(made if isinstance(made, str) else scores(made[0], part.y[5_000:]))
        row(way.method, way.library, way.call, *cells)


def scores(z: Tensor, y: Tensor) -> str:
    """NLL and ECE of calibrated logits."""
    if z.isnan().any():
        return "NaN"
    return f"{nll(z, y)} / {ece(*top_label(z.double(), y)):.4f}"


def absent(every: list[Way], options: argparse.Namespace) -> None:
    """What classes without a row keep."""
    c = 100
    rows, fresh = synthetic(20_000, c, 2, (12, 22)), synthetic(10_000, c, 3, (12, 22))
    seen = torch.zeros(c, dtype=torch.bool)
    seen[torch.randperm(c, generator=torch.Generator().manual_seed(0))[: c // 2]] = True
    own = seen[rows.y]
    rows = Rows(rows.z[own], rows.y[own])
    print(f"\n## Absent classes: {c // 2} of {c}, fitted on {len(rows.y):,} rows of the others\n")
    head(
        "method", "library", "call", "accuracy, absent", "accuracy, seen", "NLL of seen rows", "among seen classes only"
    )
    row("–", "–", "as they are", *kept(fresh.z, fresh.y, seen))
    for way in sorted(every, key=lambda way: way.method):
        made = fitted(way, rows, seen, [fresh.z], options.give_up)
        row(
            way.method,
            way.library,
            way.call,
            *([made, "", "", ""] if isinstance(made, str) else kept(made[0], fresh.y, seen)),
        )


def kept(z: Tensor, y: Tensor, seen: Tensor) -> list[str]:
    """Accuracy on absent and on seen classes, NLL on rows of seen ones, over all and over seen columns."""
    if (bad := z.isnan().any(dim=1)).any():
        return [f"NaN in {float(bad.double().mean()):.0%} of rows", "", "", ""]
    own, right = seen[y], (z.argmax(dim=1) == y).double()
    inside = (seen.cumsum(0) - 1)[y[own]]
    return [
        f"{float(right[~own].mean()):.4f}",
        f"{float(right[own].mean()):.4f}",
        nll(z[own], y[own]),
        nll(z[own][:, seen], inside),
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", default="speed,accuracy,absent", help="some of speed, accuracy, absent")
    parser.add_argument("--sizes", choices=[*SIZES, "both"], default="both", help="of the logits in the speed table")
    parser.add_argument("--methods", default=",".join(SPEED), help="of the speed table, by our names")
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many runs")
    parser.add_argument("--limit", type=float, default=120, help="a fit that takes more seconds runs once only")
    parser.add_argument("--give-up", type=float, default=300, help="a fit that takes more seconds is ended")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    print(f"one thread, float32, median of {options.repeats}, torch {torch.__version__}, NumPy {np.__version__}")
    with threadpool_limits(1):
        there = importable()
        every = ways(there)
        tables = options.tables.split(",")
        for size in SIZES if options.sizes == "both" else [options.sizes]:
            if "speed" in tables:
                speed(size, every, there, options.methods.split(","), options)
        if "accuracy" in tables:
            accuracy(every, options)
        if "absent" in tables:
            absent(every, options)


if __name__ == "__main__":
    main()
