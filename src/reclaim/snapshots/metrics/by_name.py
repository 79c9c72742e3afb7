"""Every confidence metric by name, from logits: its value, how it was estimated, and an interval on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from reclaim.core.arrays import Array
from reclaim.core.errors import unknown
from reclaim.core.numbers import Seed, Whole, in_range
from reclaim.snapshots.metrics.accuracy import checked
from reclaim.snapshots.metrics.binning import Binned
from reclaim.snapshots.metrics.bootstrap import basic_interval
from reclaim.snapshots.metrics.calibration_error import debiased_l1, debiased_l2, ece, ks, mce
from reclaim.snapshots.metrics.classwise import classwise_binned, classwise_ece_of
from reclaim.snapshots.metrics.row_scores import RowScores, row_scores
from reclaim.snapshots.metrics.selective import aurc, excess_aurc
from reclaim.snapshots.metrics.smooth_ece import smooth_ece

__all__ = ["NAMES", "Estimate", "classwise_estimate", "estimate", "estimates", "row_estimates"]


@dataclass(frozen=True)
class Estimate:
    """A number and where it comes from.

    Attributes:
        name: of the metric.
        value: None where it cannot be measured.
        estimator: what was computed, in words; numbers of different estimators must not be compared.
        n: rows. Binned errors grow as rows get fewer; do not compare them at different n.
        interval: of 95 %, basic bootstrap; None where none was asked for or some resample has no value.
    """

    name: str
    value: float | None
    estimator: str
    n: int
    interval: tuple[float, float] | None = None


Columns: TypeAlias = Callable[[RowScores], tuple[Tensor, ...]]
Statistic: TypeAlias = Callable[..., float | None]


def _top(scores: RowScores) -> tuple[Tensor, Tensor]:
    return scores.top, scores.right


def _mean(column: Tensor) -> float:
    return float(column.mean())


TOP = "top probability against right, "
WIDTH, MASS = "15 equal-width bins (l, u]", "15 equal-mass bins cut between distinct values"
OF_ROWS: dict[str, tuple[Columns, Statistic, str]] = {  # what is read of each row, what is made of it, in words
    "nll": (lambda s: (s.nll,), _mean, "mean negative log-probability of the label, nats"),
    "brier": (lambda s: (s.brier,), _mean, "mean squared distance to the one-hot label, summed over classes"),
    "ece": (_top, ece, f"{TOP}{WIDTH}, plug-in"),
    "ece-equal-mass": (_top, partial(ece, scheme="mass"), f"{TOP}{MASS}, plug-in"),
    "ece-debiased-l1": (_top, debiased_l1, f"{TOP}{WIDTH}, less the folded-normal bias"),
    "ece-debiased-l2": (_top, debiased_l2, f"{TOP}{MASS}, root of the unbiased square"),
    "mce": (_top, mce, f"{TOP}{WIDTH}, largest gap of a bin with at least 10 rows"),
    "smooth-ece": (_top, smooth_ece, f"{TOP}reflected Gaussian kernel as wide as the error"),
    "ks": (_top, ks, f"{TOP}largest gap of the cumulative sums, no bins"),
    "aurc": (_top, aurc, "mean selective risk by top probability, ties averaged"),
    "excess-aurc": (_top, excess_aurc, "the same less that of the best ranking"),
}
CLASSWISE = f"every probability against 1[label = class], {WIDTH}, plug-in, mean over classes"
NAMES = (*OF_ROWS, "ece-class-wise")


@in_range
def estimate(name: str, logits: Array, labels: Array, *, resamples: Whole = 0, seed: Seed = 0) -> Estimate:
    """One metric of [N, C] logits and [N] labels, see `estimates`."""
    return estimates(logits, labels, [name], resamples=resamples, seed=seed)[0]


@in_range
def estimates(
    logits: Array, labels: Array, names: Sequence[str] = NAMES, *, resamples: Whole = 0, seed: Seed = 0
) -> tuple[Estimate, ...]:
    """Metrics of [N, C] logits and [N] labels, in the order of `names`.

    Args:
        resamples: of rows, for the interval; 0 for no interval, 100 for an idea of it. The class-wise error reads all
            logits in each of them, the others only a few numbers per row.
        seed: of the resampling, the same for every metric.
    Raises: BadInput for an unknown name.
    """
    for name in names:
        if name not in NAMES:
            raise unknown("confidence metric", name, NAMES)
    z, y, _ = checked(logits, labels, torch.ones(logits.shape[1], dtype=torch.bool))
    of_rows = [name for name in names if name in OF_ROWS]
    scores = row_scores(z, y) if of_rows else None
    found = (
        {} if scores is None else {e.name: e for e in row_estimates(scores, of_rows, resamples=resamples, seed=seed)}
    )
    if "ece-class-wise" in names:

        def classwise(rows: Tensor | slice) -> float | None:
            return classwise_ece_of(classwise_binned(z, y, rows=None if isinstance(rows, slice) else rows))

        found["ece-class-wise"] = _estimate("ece-class-wise", classwise, CLASSWISE, len(z), resamples, seed)
    return tuple(found[name] for name in names)


def row_estimates(
    scores: RowScores,
    names: Sequence[str] = tuple(OF_ROWS),
    *,
    resamples: int = 0,
    seed: int = 0,
    groups: Tensor | None = None,
) -> tuple[Estimate, ...]:
    """Those metrics that a few numbers per row give, of rows that were scored already. Groups are resampled whole."""
    return tuple(_of_rows(scores, name, resamples, seed, groups) for name in names)


def classwise_estimate(b: Binned, n: int) -> Estimate:
    """The class-wise error that the sums of the bins of each class over `n` rows imply."""
    return Estimate("ece-class-wise", classwise_ece_of(b), CLASSWISE, n)


def _of_rows(scores: RowScores, name: str, resamples: int, seed: int, groups: Tensor | None) -> Estimate:
    read, statistic, estimator = OF_ROWS[name]
    columns = read(scores)
    n = len(columns[0])
    return _estimate(
        name, lambda rows: statistic(*(column[rows] for column in columns)), estimator, n, resamples, seed, groups
    )


def _estimate(
    name: str,
    statistic: Callable[[Tensor | slice], float | None],
    estimator: str,
    n: int,
    resamples: int,
    seed: int,
    groups: Tensor | None = None,
) -> Estimate:
    value = statistic(slice(None)) if n else None
    if value is None or not resamples:
        return Estimate(name, value, estimator, n)

    def number(rows: Tensor) -> float:
        return torch.nan if (found := statistic(rows)) is None else found

    low, high = basic_interval(number, n, resamples=resamples, seed=seed, groups=groups)
    return Estimate(name, value, estimator, n, None if math.isnan(low + high) else (low, high))
