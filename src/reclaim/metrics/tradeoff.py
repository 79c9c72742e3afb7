"""Absent against seen accuracy as the offset runs over the real numbers: exact, from one sort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reclaim.arrays import Array
from reclaim.metrics.accuracy import checked
from reclaim.metrics.margins import Margins, margins

__all__ = ["Criterion", "Curve", "area", "area_of", "best", "curve", "curve_of"]

Criterion = Literal["overall", "balanced", "harmonic"]


@dataclass(frozen=True)
class Curve:
    """Every pair of accuracies that some offset reaches, by growing offset; [K] float64 each.

    Attributes:
        offsets: one per step: between two neighbouring breakpoints, the outermost ones 1 beyond the last breakpoint.
        seen, absent: accuracy on rows of that group, all classes competing; NaN without such rows.
        all: accuracy on all rows.
    """

    offsets: Tensor
    seen: Tensor
    absent: Tensor
    all: Tensor


def curve(logits: Array, labels: Array, seen: Array) -> Curve:
    """The trade-off curve of [N, C] logits in O(N C + N log N).

    A row that is right within its group is right over all classes exactly on one side of its margin: seen rows below
    it, absent rows above. So the curve steps at the margins of those rows and nowhere else.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; Chao et al., "An Empirical Study and
        Analysis of Generalized Zero-Shot Learning", ECCV 2016 (the seen-unseen curve).
    Differs: one sort instead of one evaluation of all logits per breakpoint; the same points.
    """
    return curve_of(margins(*checked(logits, labels, seen)))


def curve_of(m: Margins) -> Curve:
    """The curve that the margins of some rows imply."""
    lost, won = _sorted_margins(m)
    breaks = torch.unique(torch.cat([lost, won]))  # sorted; equal margins step together
    if len(breaks):
        offsets = torch.cat([breaks[:1] - 1, (breaks[1:] + breaks[:-1]) / 2, breaks[-1:] + 1])
    else:
        offsets = torch.zeros(1, dtype=torch.float64, device=m.margin.device)
    kept = len(lost) - torch.searchsorted(lost, offsets)
    gained = torch.searchsorted(won, offsets)
    num_seen, num_absent = int(m.is_seen.sum()), int((~m.is_seen).sum())
    return Curve(
        offsets=offsets,
        seen=kept.double() / num_seen if num_seen else torch.full_like(offsets, torch.nan),
        absent=gained.double() / num_absent if num_absent else torch.full_like(offsets, torch.nan),
        all=(kept + gained).double() / max(1, num_seen + num_absent),
    )


def best(points: Curve, criterion: Criterion = "overall") -> tuple[float, float]:
    """The offset with the best value of the criterion, and that value; of equal ones the offset nearest to 0.

    Args:
        criterion: accuracy over all rows, the mean of seen and absent accuracy, or their harmonic mean.
    """
    if criterion == "overall":
        values = points.all
    elif criterion == "balanced":
        values = (points.seen + points.absent) / 2
    else:
        values = 2 * points.seen * points.absent / (points.seen + points.absent).clamp_min(1e-300)
    top = values.max()
    candidates = points.offsets[values == top]
    return float(candidates[candidates.abs().argmin()]), float(top)


def area(logits: Array, labels: Array, seen: Array) -> float | None:
    """Area under absent against seen accuracy (AUSUC), in [0, 1]; None without rows of both groups.

    The closed form of the integral: over all pairs of a seen and an absent row, both right within their group, the
    share in which the absent row has the smaller margin, ties counting half.

    Source: Chao et al., ECCV 2016 (AUSUC).
    """
    found = area_of(margins(*checked(logits, labels, seen)))
    return found and found[0]


def area_of(m: Margins) -> tuple[float, float] | None:
    """The area and its standard error, from margins.

    The area is a two-sample U-statistic, so its variance follows from each row's share of winning pairs.

    Source: DeLong et al., "Comparing the areas under two or more correlated ROC curves", Biometrics 1988.
    """
    num_seen, num_absent = int(m.is_seen.sum()), int((~m.is_seen).sum())
    if not num_seen or not num_absent:
        return None
    lost, won = _sorted_margins(m)
    above = torch.searchsorted(won, lost) + torch.searchsorted(won, lost, right=True)  # per seen row, absent ones below
    below = 2 * len(lost) - torch.searchsorted(lost, won) - torch.searchsorted(lost, won, right=True)
    value = float(above.sum()) / 2 / num_seen / num_absent
    variance = _variance(above, 2 * num_absent, num_seen) + _variance(below, 2 * num_seen, num_absent)
    return value, variance**0.5


def _sorted_margins(m: Margins) -> tuple[Tensor, Tensor]:
    """Sorted margins of the rows an offset can lose (seen) and win (absent)."""
    return m.margin[m.hit & m.is_seen].sort().values, m.margin[m.hit & ~m.is_seen].sort().values


def _variance(counts: Tensor, scale: int, n: int) -> float:
    """Variance of the mean of n shares, counts / scale, the missing ones being 0."""
    shares = counts.double() / scale
    mean = float(shares.sum()) / n
    return max(0.0, float(shares.square().sum()) / n - mean**2) / max(1, n - 1)
