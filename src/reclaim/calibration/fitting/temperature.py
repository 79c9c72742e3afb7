"""The best inverse temperature: a convex problem in one number, solved by Newton steps over blocks of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from reclaim.calibration.rows import Rows
from reclaim.core.several import several

__all__ = ["LOG2E", "Found", "Slope", "best_beta", "slope"]

LOG2E = math.log2(math.e)
_SAMPLE = 1 << 10  # rows that find the neighbourhood of the optimum when there are many more


@dataclass(frozen=True)
class Slope:
    """Mean negative log-likelihood of ``softmax(beta z)`` in nats, its first and second derivative by beta, and more.

    Attributes:
        right: share of rows whose label has the largest logit.
        width: root mean square distance of a logit from its row's largest.
    """

    nll: float
    first: float
    second: float
    right: float
    width: float


@dataclass(frozen=True)
class Found:
    """An inverse temperature and how it was found.

    Attributes:
        beta: 1/T.
        nll: at beta.
        gradient: of the mean negative log-likelihood by log beta, at beta; 0 where it converged.
        passes: over all rows.
        note: what was unusual about the rows; empty if nothing.
    """

    beta: float
    nll: float
    gradient: float
    passes: int
    note: str = ""

    def details(self) -> dict[str, Any]:
        """How it was found, for a calibrator's record."""
        return {"nll": self.nll, "gradient": self.gradient, "passes": self.passes, "note": self.note}


def slope(rows: Rows, beta: float, stride: int = 1, *, curvature: bool = True) -> Slope:
    """One pass, in which each of several processes reads its own rows.

    Without `curvature` the second derivative is nan, and the pass costs a third less.
    """
    totals, n, buffer, us = rows.logits.new_zeros(5, dtype=torch.float64), 0, torch.empty(0), several()
    for z, y in rows.blocks(stride, us=us):
        top = z.amax(dim=1, keepdim=True)
        own = z.gather(1, y[:, None]) - top
        buffer = buffer.to(z).resize_(z.shape)
        power = torch.add(top * (-beta * LOG2E), z, alpha=beta * LOG2E, out=buffer).exp2_()  # exp2 is the fast one
        mass = power.sum(dim=1, keepdim=True)
        first = power.mul_(z).sum(dim=1, keepdim=True) / mass
        second = width = z.new_zeros(())
        if curvature:
            second = power.mul_(z).sum(dim=1, keepdim=True) / mass - first.square()
            width = (z - top).square_().mean(dim=1)
        parts = (mass.log() - beta * own, first - top - own, second, own == 0, width)
        totals += torch.stack([part.sum(dtype=torch.float64) for part in parts])
        n += len(y)
    *sums, n = us.summed(torch.cat([totals, totals.new_tensor([n])])).tolist()
    nll, first_, second_, right, wide = (one / n for one in sums)
    return Slope(nll, first_, second_ if curvature else math.nan, right, math.sqrt(wide))


def best_beta(rows: Rows) -> Found:
    """The beta > 0 that minimises the mean negative log-likelihood.

    Where rows are all right there is no such beta: more confidence is always better. It is then the one whose mean
    loss is 1/(N+1), what one more row might cost. Where they are worse than chance, beta is as good as zero.
    """
    n = len(rows)
    stride = max(1, n // _SAMPLE)
    start = slope(rows, 0.0, stride)
    if start.width == 0:
        return Found(1.0, start.nll, 0.0, 1, "all logits of a row are equal; nothing to scale")
    low, high = 1e-4 / start.width, 1e4 / start.width
    if start.first >= 0 and (start := slope(rows, 0.0)).first >= 0:
        made = slope(rows, low)
        return Found(low, made.nll, made.first * low, 2, "worse than chance: the probabilities are made all but equal")
    if start.right == 1 and slope(rows, 0.0).right == 1:
        return _all_right(rows, low, high)
    beta, curve = _newton(rows, 1.0 / start.width, low, high, stride)
    passes, last = 0, (math.nan, math.nan)
    while passes < 50:  # the sample's curvature, then the secant's: full passes need the first derivative only
        made = slope(rows, beta, curvature=stride == 1)
        passes += 1
        if stride == 1:
            curve = made.second
        elif passes > 1 and made.first != last[1]:
            curve = max((made.first - last[1]) / (beta - last[0]), 0.1 * curve)
        if abs(made.first) * beta <= 1e-9 * max(1.0, made.nll) or beta in (low, high):
            break
        last = beta, made.first
        step = -made.first / curve
        if abs(step) < 1e-7 * beta:
            break
        beta = min(max(beta + max(step, -0.5 * beta), low), high)
    return Found(beta, made.nll, made.first * beta, passes)


def _newton(rows: Rows, beta: float, low: float, high: float, stride: int) -> tuple[float, float]:
    """The optimum of every `stride`-th row, and the curvature there: Newton steps inside a shrinking bracket."""
    made = slope(rows, beta, stride)
    for _ in range(60):
        low, high = (beta, high) if made.first < 0 else (low, beta)
        newton = beta - made.first / made.second if made.second > 0 else math.nan
        step = newton if low < newton < high else math.sqrt(low * high)
        close = abs(step - beta) < 1e-2 * beta
        beta = step
        if close:
            break
        made = slope(rows, beta, stride)
    return beta, made.second


def _all_right(rows: Rows, low: float, high: float) -> Found:
    target, passes = 1 / (len(rows) + 1), 0
    while high / low > 1 + 1e-9 and passes < 100:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(rows, middle, curvature=False).nll > target else (low, middle)
        passes += 1
    made = slope(rows, high)
    return Found(high, made.nll, made.first * high, passes, "every row is right, so no temperature is the best one")
