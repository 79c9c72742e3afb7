"""Two calls timed in turns on a device, and the line of a table that says how they compare."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["Line", "paired"]


@dataclass(frozen=True)
class Line:
    """What was measured against what: seconds of each by round."""

    name: str
    ours: list[float]
    bare: list[float]

    def __str__(self) -> str:
        ratios = [a / b for a, b in zip(self.ours, self.bare, strict=True)]
        ratio, low, high = statistics.median(ratios), min(ratios), max(ratios)
        noisy = " noisy" if high - low > 0.1 * ratio else ""
        times = " | ".join(f"{1e3 * statistics.median(seconds):,.1f}" for seconds in (self.ours, self.bare))
        return f"| {self.name} | {ratio:.2f} | {low:.2f} to {high:.2f}{noisy} | {times} |"


def paired(
    name: str, ours: Callable[[], object], bare: Callable[[], object], rounds: int, device: torch.device
) -> Line:
    """Both once for what is done once, then in turns, each of them first in every other round."""
    calls = (ours, bare)
    for call in calls:
        _seconds(call, device)
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            taken[which].append(_seconds(calls[which], device))
    return Line(name, *taken)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    _wait_for(device)
    start = time.perf_counter()
    call()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
