"""Tell seen from absent rows by their margins alone: two populations, one of which is known."""

from __future__ import annotations

from math import pi

import numpy as np
import torch
from torch import Tensor

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.core.errors import BadInput
from reclaim.core.numbers import Count, in_range
from reclaim.snapshots.metrics.margins import group_bests
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["margin_mixture"]

_NONE = (
    "the margins show no second population below that of the seen rows, so nothing says where it begins.\n"
    "  Choose with retention-budget, which needs held-out seen rows only."
)


@in_range
def margin_mixture(evidence: Evidence, *, iterations: Count = 500) -> Selection:
    """Put the offset where a target row is as likely to be seen as absent, judged by its margin.

    The margins of unlabelled target rows are a mixture (1 - q) F + q Normal(m, v). F is the density of held-out seen
    rows (kernel estimate, held fixed); q, m and v are found by expectation maximisation.

    Args:
        iterations: the most steps of expectation maximisation.

    Needs: seen, unlabelled.
    Raises: BadInput if no population stands below that of the seen rows, by half its standard deviation at least, or
        either has one margin only.
    Source: Reclaim; expectation maximisation is that of Dempster et al., 1977.
    """
    known, rows = evidence.need("seen", by="margin-mixture"), evidence.need("unlabelled", by="margin-mixture")
    d, d_seen = _margins(rows), _margins(known)
    if any(float(margins.min()) == float(margins.max()) for margins in (d, d_seen)):
        raise BadInput(_NONE)
    seen_density, grid = _kernel_density(d_seen, d)
    f = torch.from_numpy(np.interp(d.numpy(), grid.numpy(), seen_density.numpy()))
    spread = float(d.std())
    q, m, v = 0.5, float(d.quantile(0.25)), spread**2 / 4
    for _ in range(iterations):
        g = _normal(d, m, v)
        duty = (q * g / (q * g + (1 - q) * f)).nan_to_num(0.0)  # how absent each row is; one far from both is not
        weight = float(duty.sum())
        if weight < 1:
            raise BadInput(_NONE)
        before, q, m = m, weight / len(d), float((duty * d).sum()) / weight
        v = max(float((duty * (d - m).square()).sum()) / weight, 1e-4 * spread**2)
        if abs(m - before) < 1e-9 * spread:
            break
    if m >= float(d_seen.mean()) - 0.5 * float(d_seen.std()):
        raise BadInput(_NONE)
    offset = _crossing(grid, q * _normal(grid, m, v), (1 - q) * seen_density, m)
    return Selection(
        offset=offset,
        reason=f"{q:.0%} of {len(rows)} unlabelled rows have margins unlike those of seen rows (around {m:.1f})",
        evidence={"seen": len(known), "unlabelled": len(rows)},
        details={"absent_share": q, "absent_mean": m, "absent_variance": v},
    )


def _margins(rows: Snapshot) -> Tensor:
    best_seen, best_absent = group_bests(rows.logits, rows.seen)
    return (best_seen.double() - best_absent.double()).cpu()


def _kernel_density(sample: Tensor, range_of: Tensor, points: int = 1024) -> tuple[Tensor, Tensor]:
    """Gaussian kernel density of `sample` on a grid, with Silverman's bandwidth, but none below the grid's step; the
    sample is binned first, each value shared by the two grid points beside it."""
    least, most = min(float(sample.min()), float(range_of.min())), max(float(sample.max()), float(range_of.max()))
    width = max(1.06 * float(sample.std()) * len(sample) ** -0.2, (most - least) / points)
    low, high = least - 4 * width, most + 4 * width
    grid = torch.linspace(low, high, points, dtype=torch.float64)
    place = (sample - low) / (high - low) * (points - 1)
    left = place.floor()
    counts = torch.zeros(points, dtype=torch.float64)
    counts.index_add_(0, left.long(), left + 1 - place).index_add_(0, left.long() + 1, place - left)
    counts /= len(sample)
    kernel = _normal(grid - low, 0.0, width**2)
    density = np.convolve(torch.cat([kernel.flip(0), kernel[1:]]).numpy(), counts.numpy(), mode="valid")
    return torch.from_numpy(density), grid


def _normal(x: Tensor, mean: float, variance: float) -> Tensor:
    return (-(x - mean).square() / (2 * variance)).exp() / (2 * pi * variance) ** 0.5


def _crossing(grid: Tensor, absent: Tensor, seen: Tensor, mean: float) -> float:
    """The first point above the absent mean where seen rows become the likelier ones; between grid points by a line."""
    ahead = seen - absent
    later = ((ahead >= 0) & (grid > mean)).nonzero()
    if not len(later):
        return float(grid[-1])
    at = int(later[0, 0])
    if ahead[at - 1] >= 0:  # from the mean on; the grid begins below it
        return mean
    way = float(ahead[at - 1] / (ahead[at - 1] - ahead[at]))
    return max(mean, float(grid[at - 1].lerp(grid[at], way)))
