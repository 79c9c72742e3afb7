"""What a reliability diagram draws."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reclaim.core.numbers import Few, in_range
from reclaim.snapshots.metrics.accuracy import wilson_interval
from reclaim.snapshots.metrics.binning import Scheme, bin_of, binned
from reclaim.snapshots.metrics.clustered import effective_rows

__all__ = ["ReliabilityBin", "reliability_diagram"]


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar.

    Attributes:
        count: rows in the bin, at least one.
        forecast: their mean probability.
        frequency: the share of them that is right.
        low, high: 95 % interval of the frequency (Wilson); the bar is honest where the forecast lies within. Where rows
            belong together it counts their `effective_rows`.
    """

    count: int
    forecast: float
    frequency: float
    low: float
    high: float


@in_range
def reliability_diagram(
    p: Tensor, hit: Tensor, *, bins: Few = 15, scheme: Scheme = "width", groups: Tensor | None = None
) -> tuple[ReliabilityBin, ...]:
    """The bins of [N] probabilities and [N] outcomes, 0 or 1, that hold any row, by ascending probability.

    The mean gap of the bars, weighted by their rows, is the `ece` of the same bins.

    Args:
        groups: [N] int64, which rows belong together; None where each stands alone.

    Source: DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters", The Statistician 1983.
    """
    b, bars = binned(p, hit, bins, scheme), []
    index = None if groups is None else bin_of(p, bins, scheme)[0]
    for number, (n, forecast, hits) in enumerate(
        zip(b.count.tolist(), b.forecast.tolist(), b.hits.tolist(), strict=True)
    ):
        if n:
            here = None if index is None else index == number
            size = n if here is None or groups is None else effective_rows(hit[here], groups[here])
            bars.append(ReliabilityBin(int(n), forecast / n, hits / n, *wilson_interval(hits / n, size)))
    return tuple(bars)
