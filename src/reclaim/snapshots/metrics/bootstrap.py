"""How far a statistic may be off, from resampled rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.core.numbers import Count, InnerShare, Seed, in_range

__all__ = ["basic_interval"]


@in_range
def basic_interval(
    statistic: Callable[[Tensor], float],
    n: int,
    *,
    resamples: Count = 100,
    level: InnerShare = 0.95,
    seed: Seed = 0,
    groups: Tensor | None = None,
) -> tuple[float, float]:
    """The basic bootstrap interval: 2 · estimate - quantiles of the estimates from n rows drawn with replacement.

    Calibration errors are biased upwards, and those of resampled rows once more; the basic interval takes the second
    bias off, where quantiles alone would add it to the first. Its ends may lie outside the range of the statistic.

    Args:
        statistic: of the rows whose indices [n] it is given.
        n: rows, at least one.
        groups: [n] int64, which rows belong together: whole groups are then drawn, as many as there are.
        resamples: a hundred gives ends that scatter by some 7 % of the width, ten times as many by 2 %.
    Raises: BadInput for fewer than 20 resamples or a level outside (0, 1).
    Source: Davison and Hinkley, "Bootstrap Methods and their Application", 1997.
    """
    if resamples < 20:
        raise BadInput(f"an interval needs at least 20 resamples; given: {resamples}.")
    if not 0 < level < 1:
        raise BadInput(f"the level of an interval is between 0 and 1; given: {level}.")
    random = np.random.default_rng(seed)
    estimate = statistic(torch.arange(n))
    drawn = [statistic(rows) for rows in islice(_draws(n, groups, random), resamples)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(2 * estimate - high), float(2 * estimate - low)


def _draws(n: int, groups: Tensor | None, random: np.random.Generator) -> Iterator[Tensor]:
    """Indices of rows, drawn with replacement: n rows, or as many whole groups as there are."""
    if groups is None:
        while True:
            yield torch.from_numpy(random.integers(0, n, n))
    order, sizes = groups.cpu().argsort(stable=True), groups.cpu().unique(return_counts=True)[1]
    members = order.split(sizes.tolist())
    while True:
        yield torch.cat([members[i] for i in random.integers(0, len(members), len(members))])
