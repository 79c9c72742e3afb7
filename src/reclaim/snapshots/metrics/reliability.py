"""What a reliability diagram draws."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reclaim.snapshots.metrics.accuracy import wilson_interval
from reclaim.snapshots.metrics.binning import Scheme, binned

__all__ = ["ReliabilityBin", "reliability_diagram"]


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar.

    Attributes:
        count: rows in the bin, at least one.
        forecast: their mean probability.
        frequency: the share of them that is right.
        low, high: 95 % interval of the frequency (Wilson); the bar is honest where the forecast lies within.
    """

    count: int
    forecast: float
    frequency: float
    low: float
    high: float


def reliability_diagram(
    p: Tensor, hit: Tensor, *, bins: int = 15, scheme: Scheme = "width"
) -> tuple[ReliabilityBin, ...]:
    """The bins of [N] probabilities and [N] outcomes, 0 or 1, that hold any row, by ascending probability.

    The mean gap of the bars, weighted by their rows, is the `ece` of the same bins.

    Source: DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters", The Statistician 1983.
    """
    b = binned(p, hit, bins, scheme)
    rows = zip(b.count.tolist(), b.forecast.tolist(), b.hits.tolist(), strict=True)
    return tuple(
        ReliabilityBin(int(n), forecast / n, hits / n, *wilson_interval(hits / n, int(n)))
        for n, forecast, hits in rows
        if n
    )
