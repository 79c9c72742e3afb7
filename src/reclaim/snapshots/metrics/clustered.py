"""How sure a number is where rows belong together: a group counts once, however many rows it has."""

from __future__ import annotations

import torch
from scipy.stats import t
from torch import Tensor

from reclaim.core.groups import group_sums
from reclaim.snapshots.metrics.margins import Margins

__all__ = ["area_error", "effective_rows", "width"]

Z = 1.959964  # of a 95 % interval


def width(num_groups: int) -> float:
    """How many standard errors a 95 % interval reaches to each side, with the variance of so many groups estimated."""
    return float(t.ppf(0.975, num_groups - 1)) if num_groups > 1 else float("inf")


def effective_rows(right: Tensor, groups: Tensor) -> float:
    """How many rows that stand alone would tell a share as precisely as these do, at most as many as there are.

    The share p of n rows has the variance v = sum over groups of (sum over rows of x - p)² / n², and p (1 - p) / v rows
    that stand alone have it too; fewer by (z / t)², because G groups estimate it. Where all rows are alike, v says
    nothing, and G is taken.

    Args:
        right: [N] bool.   groups: [N] int64.
    Source: Kish, "Survey Sampling", 1965 (design effect); Korn and Graubard, "Confidence intervals for proportions with
        small expected number of positive counts estimated from survey data", Survey Methodology 1998.
    """
    n, x = len(right), right.cpu().double()
    p = float(x.mean())
    sums = group_sums(x - p, groups)
    if len(sums) == n:
        return n
    variance = float(sums.square().sum()) / n**2
    size = p * (1 - p) / variance if variance and 0 < p < 1 else float(len(sums))
    return max(1e-9, min(size * (Z / width(len(sums))) ** 2, n))


def area_error(m: Margins, groups: Tensor) -> float | None:
    """The standard error of the area under the trade-off curve; None without rows of both groups of classes.

    The area is a mean over pairs of a seen and an absent row. Each row's share of winning pairs, less the area, is what
    it contributes; the contributions of a group are added before they are squared.

    Source: Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 1997.
    Differs: one sum of squares over all groups, which may hold rows of both kinds, instead of three.
    """
    num_seen = int(m.is_seen.sum())
    num_absent = len(m.is_seen) - num_seen
    if not num_seen or not num_absent:
        return None
    lost, won = ((m.margin[m.hit & kind]).sort().values for kind in (m.is_seen, ~m.is_seen))
    below, above = _twice_below(won, m.margin), 2 * len(lost) - _twice_below(lost, m.margin)
    shares = torch.where(m.is_seen, below / (2 * num_absent), above / (2 * num_seen)) * m.hit
    area = float(shares[m.is_seen].mean())
    sizes = torch.where(m.is_seen, float(num_seen), float(num_absent)).double()
    sums = group_sums((shares - area) / sizes, groups)
    return float((sums.square().sum() * len(sums) / max(1, len(sums) - 1)).sqrt())


def _twice_below(values: Tensor, margin: Tensor) -> Tensor:
    """Of each margin, twice the number of the sorted values below it, equal ones counting half; float64."""
    return (torch.searchsorted(values, margin) + torch.searchsorted(values, margin, right=True)).double()
