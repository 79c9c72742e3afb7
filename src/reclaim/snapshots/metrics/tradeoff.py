"""Absent against seen accuracy as the offset runs over the real numbers: exact, from one sort."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from reclaim.core.arrays import Array, merged, rank, sorted_values
from reclaim.snapshots.metrics.accuracy import checked
from reclaim.snapshots.metrics.margins import Margins, margins

__all__ = [
    "WINDOW",
    "Best",
    "Criterion",
    "Curve",
    "Steps",
    "accuracies_at",
    "area",
    "area_of",
    "best",
    "by_classes",
    "curve",
    "curve_of",
    "steps_of",
]

Criterion = Literal["overall", "balanced", "harmonic"]

_ONE_ROW_LESS = 0.1  # what a step weighs where one row less is right, beside one as wide where none is
WINDOW = 1e-4  # of the range of the margins: what margins are nearer than that step together
_FAR = 30.0  # rows less, from which on a step weighs nothing
_DEEP, _DEEP_SHARE = 4.0, 0.1  # what makes a valley of the steps around the middle: rows, or a share of the best


@dataclass(frozen=True)
class Curve:
    """Every pair of accuracies that some offset reaches, by growing offset; [K] float64 each.

    Attributes:
        breaks: the breakpoints between the steps, [K - 1].
        offsets: one per step: between two neighbouring breakpoints, the outermost ones 1 beyond the last breakpoint.
        seen, absent: accuracy on rows of that group, all classes competing; NaN without such rows.
        all: accuracy on all rows.
        rows: how many there are.
    """

    breaks: Tensor
    offsets: Tensor
    seen: Tensor
    absent: Tensor
    all: Tensor
    rows: int


@dataclass(frozen=True)
class Best:
    """Where a criterion is largest.

    Attributes:
        offset: the middle of the offsets that are as good as the best, see `best`.
        value: of the criterion with that offset.
        ceiling: the largest value that any offset reaches.
    """

    offset: float
    value: float
    ceiling: float


@dataclass(frozen=True)
class Steps:
    """The margins at which a growing offset changes an answer that is right within its group.

    Attributes:
        lost, won: of the seen rows it loses and of the absent rows it wins, in ascending order.
        num_seen, num_absent: all rows of either group.
    """

    lost: Tensor
    won: Tensor
    num_seen: int
    num_absent: int


def steps_of(m: Margins) -> Steps:
    """Sort the margins that matter. Of all that is done here, only this takes longer than linear time."""
    lost, won = sorted_values(m.margin[m.hit & m.is_seen]), sorted_values(m.margin[m.hit & ~m.is_seen])
    num_seen = int(m.is_seen.sum())
    return Steps(lost, won, num_seen, len(m.is_seen) - num_seen)


def curve(logits: Array, labels: Array, seen: Array) -> Curve:
    """The trade-off curve of [N, C] logits in O(N C + N log N).

    A row that is right within its group is right over all classes exactly on one side of its margin: seen rows below
    it, absent rows above. So the curve steps at the margins of those rows and nowhere else.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; Chao et al., "An Empirical Study and
        Analysis of Generalized Zero-Shot Learning", ECCV 2016 (the seen-unseen curve).
    Differs: one sort instead of one evaluation of all logits per breakpoint; the same points.
    """
    return curve_of(steps_of(margins(*checked(logits, labels, seen))))


def curve_of(steps: Steps) -> Curve:
    """The curve that the steps make."""
    lost, won = steps.lost, steps.won
    breaks = merged(lost, won).unique_consecutive()  # equal margins step together
    kept = torch.cat([breaks.new_full((1,), len(lost)), len(lost) - rank(lost, breaks, right=True).double()])
    gained = torch.cat([breaks.new_zeros(1), rank(won, breaks, right=True).double()])
    if len(breaks):
        offsets = torch.cat([breaks[:1] - 1, (breaks[1:] + breaks[:-1]) / 2, breaks[-1:] + 1])
    else:
        offsets = torch.zeros_like(kept)
    rows = max(1, steps.num_seen + steps.num_absent)
    return Curve(
        breaks=breaks,
        offsets=offsets,
        seen=kept / (steps.num_seen or torch.nan),
        absent=gained / (steps.num_absent or torch.nan),
        all=(kept + gained) / rows,
        rows=rows,
    )


def by_classes(points: Curve, seen: Tensor) -> Curve:
    """The same curve, but in `all` every class counts alike, not every row; `seen` is [C] bool."""
    share = float(seen.double().mean())
    return replace(points, all=share * points.seen + (1 - share) * points.absent)


def accuracies_at(steps: Steps, offset: float) -> tuple[float, float]:
    """Seen and absent accuracy under one offset; NaN without rows of the group."""
    kept, won = int((steps.lost > offset).sum()), int((steps.won < offset).sum())
    return kept / (steps.num_seen or torch.nan), won / (steps.num_absent or torch.nan)


def best(points: Curve, criterion: Criterion = "overall") -> Best:
    """The middle of the offsets with which the criterion is as large as it gets, but for about one row.

    The largest value alone is no firm ground: where two margins are closer than rounding, their order makes a step of
    no width that is better than all others by one row, or unmakes it. So every step has a weight, its width times
    10 ** -(rows that it has fewer right than the best one), and the offset has as much weight below as above. On one
    plateau above all else that is its middle. Where a step is narrower than a ten-thousandth of the margins' range, its
    rows are the mean over so much around it. So a step of no width has no say, and small changes of the logits move the
    offset a little and no more. Between plateaus apart of equal weight, where the middle would cost rows, it is the
    middle of the one nearest to 0.

    Args:
        criterion: accuracy over all rows, the mean of seen and absent accuracy, or their harmonic mean. A row is one
            part of them in the number of all rows.

    Source: Reclaim; docs/results/repair.md has the other ways that were tried.
    """
    if criterion == "overall":
        values = points.all
    elif criterion == "balanced":
        values = (points.seen + points.absent) / 2
    else:
        values = 2 * points.seen * points.absent / (points.seen + points.absent).clamp_min(1e-300)
    breaks, values = points.breaks.cpu(), values.cpu()  # many small steps, each of which a card would wait for
    less = (values.max() - values) * points.rows
    ends = torch.cat([breaks[:1] - 2, breaks, breaks[-1:] + 2]) if len(breaks) else breaks.new_tensor([-1.0, 1.0])
    offset = _middle(ends, less, float(values.max()) * points.rows)
    at = int(torch.searchsorted(breaks, offset))
    return Best(offset, float(values[at]), float(values.max()))


def _middle(ends: Tensor, less: Tensor, most: float) -> float:
    """The offset with as much weight below as above.

    Args:
        ends: of the steps, [K + 1].
        less: rows that a step has fewer right than the best one, [K].
        most: rows that the best one has right.
    """
    areas = torch.cat([less.new_zeros(1), (ends.diff() * less).cumsum(0)])

    def mean(low: Tensor, high: Tensor) -> Tensor:
        """Of `less` between offsets."""
        x = torch.stack([low, high]).clamp(ends[0], ends[-1])
        step = (torch.searchsorted(ends, x, right=True) - 1).clamp(0, len(less) - 1)
        area = areas[step] + (x - ends[step]) * less[step]
        return (area[1] - area[0]) / (x[1] - x[0])

    near = (less < _FAR).nonzero().squeeze(1)
    low, high = ends[near], ends[near + 1]
    middle, half = (low + high) / 2, WINDOW * (ends[-1] - ends[0]) / 2
    missed = mean(middle - half, middle + half)
    base = missed.min()
    weights = (high - low) * _ONE_ROW_LESS ** (missed - base)
    below = weights.cumsum(0)
    marks = below[-1] * below.new_tensor([0.45, 0.5, 0.55])
    at = torch.searchsorted(below, marks)
    found = high[at] - (below[at] - marks) / weights[at] * (high - low)[at]
    deep = mean(found[0], found[2]) - (weights * missed).sum() / below[-1]
    if float(deep) <= min(_DEEP, _DEEP_SHARE * most):
        return float(found[1])
    heavy = middle[2 * weights > weights.max()]
    return float(heavy[heavy.abs().argmin()])


def area(logits: Array, labels: Array, seen: Array) -> float | None:
    """Area under absent against seen accuracy (AUSUC), in [0, 1]; None without rows of both groups.

    The closed form of the integral: over all pairs of a seen and an absent row, both right within their group, the
    share in which the absent row has the smaller margin, ties counting half.

    Source: Chao et al., ECCV 2016 (AUSUC).
    """
    found = area_of(steps_of(margins(*checked(logits, labels, seen))))
    return found and found[0]


def area_of(steps: Steps) -> tuple[float, float] | None:
    """The area and its standard error.

    The area is a two-sample U-statistic, so its variance follows from each row's share of winning pairs.

    Source: DeLong et al., "Comparing the areas under two or more correlated ROC curves", Biometrics 1988.
    """
    lost, won = steps.lost, steps.won
    if not steps.num_seen or not steps.num_absent:
        return None
    below = rank(won, lost) + rank(won, lost, right=True)  # per seen row, twice the absent rows with a smaller margin
    above = 2 * len(lost) - rank(lost, won) - rank(lost, won, right=True)  # per absent row, the seen ones with a larger
    sums = [below.sum().double(), *_moments(below, 2 * steps.num_absent), *_moments(above, 2 * steps.num_seen)]
    pairs, kept, kept_squares, gained, gained_squares = torch.stack(sums).tolist()  # a card is waited for once
    value = pairs / 2 / steps.num_seen / steps.num_absent
    variance = _variance(kept, kept_squares, steps.num_seen) + _variance(gained, gained_squares, steps.num_absent)
    return value, variance**0.5


def _moments(counts: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """The sums of the shares counts / scale and of their squares."""
    shares = counts.double() / scale
    return shares.sum(), shares.square().sum()


def _variance(total: float, squares: float, n: int) -> float:
    """Variance of the mean of n shares, from their sum and that of their squares."""
    return max(0.0, squares / n - (total / n) ** 2) / max(1, n - 1)
