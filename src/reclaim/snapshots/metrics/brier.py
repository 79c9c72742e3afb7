"""The Brier score taken apart: calibration, what the forecasts tell apart, and what nobody can know."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reclaim.core.numbers import Few, in_range
from reclaim.snapshots.metrics.binning import Binned, Scheme, binned

__all__ = ["BrierParts", "binary_brier", "brier_parts"]


@dataclass(frozen=True)
class BrierParts:
    """The score is reliability - resolution + uncertainty + within, exactly.

    Attributes:
        reliability: mean squared gap between forecast and frequency of the bins; 0 is perfect.
        resolution: variance of the frequencies over the bins; the larger the better.
        uncertainty: variance of the outcomes.
        within: what the bins hide: the variance of forecasts inside bins - twice their covariance with the outcomes.
            0 where all forecasts of a bin are equal.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


@in_range
def brier_parts(p: Tensor, hit: Tensor, *, bins: Few = 15, scheme: Scheme = "width") -> BrierParts:
    """Take the Brier score of [N] probabilities and [N] outcomes, 0 or 1, apart by bins. At least one row.

    Source: Murphy, "A New Vector Partition of the Probability Score", JAM 1973; Stephenson et al., "Two Extra
        Components in the Brier Score Decomposition", Weather and Forecasting 2008 (within).
    Differs: the two components within bins are given as one number, the rest, which makes the sum exact.
    """
    return parts_of(binned(p, hit, bins, scheme), binary_brier(p, hit))


def parts_of(b: Binned, score: float) -> BrierParts:
    """The parts that the sums of some bins and the score of their rows imply.

    Sums of several classes, [C, M], give the parts of the score that is summed over classes.
    """
    n = b.count.sum(dim=-1, keepdim=True)
    size = b.count.clamp_min(1)
    overall, frequency = b.hits.sum(dim=-1, keepdim=True) / n, b.hits / size
    reliability = float((b.count / n * ((b.forecast - b.hits) / size).square()).sum())
    resolution = float((b.count / n * (frequency - overall).square()).sum())
    uncertainty = float((overall * (1 - overall)).sum())
    return BrierParts(reliability, resolution, uncertainty, score - reliability + resolution - uncertainty)


def binary_brier(p: Tensor, hit: Tensor) -> float:
    """Mean squared distance between probabilities and outcomes, in [0, 1]."""
    return float((p.double() - hit.double()).square().mean())
