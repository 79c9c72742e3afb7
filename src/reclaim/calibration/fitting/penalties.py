"""Affine maps of the logits of calibration rows, under ridges that cross-validation chooses.

All maps start at the best temperature, ``x = beta z``, so that the identity is near the optimum and penalties have no
units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from reclaim.calibration.fitting.affine import AffineFit, Blocks, Factors, fit_diagonal, fit_matrix, kronecker, mean_nll
from reclaim.calibration.rows import Rows
from reclaim.core.errors import BadInput
from reclaim.core.groups import pieces
from reclaim.core.several import Several

__all__ = ["folds", "full", "prior_width", "ridged", "scaled"]

WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the normal prior behind a ridge, in logit units: stiff to free
_MANY, _SAMPLE = 1 << 18, 1 << 23  # logits: so many leave no doubt in one judgement, and more than these none at all
_WORK = 1 << 32  # products of one pass of a matrix; where there are more, few steps must do
_ROUGH = 1e-6  # relative, of the objective: enough to tell widths apart


def ridged(rows: Rows, beta: float, ridge: float | None, *, scales: bool) -> tuple[AffineFit, float]:
    """`fit_diagonal` of the rows times beta under a ridge, or under the one that cross-validation chooses; and it."""
    k = rows.num_classes

    def fit(part: Rows, width: float, start: AffineFit | None) -> AffineFit:
        return fit_diagonal(
            scaled(part, beta), k, k / (2 * len(part) * width**2), scales=scales, start=start, tolerance=_ROUGH
        )

    start = None
    if ridge is None:
        width, start = prior_width(rows, fit, lambda part: scaled(part, beta))
        ridge = k / (2 * len(rows) * width**2)
    return fit_diagonal(scaled(rows, beta), k, ridge, scales=scales, start=start), ridge


def full(
    rows: Rows, beta: float, off_diagonal: float | None, intercept: float | None, *, log_softmax: bool = False
) -> tuple[AffineFit, dict[str, float]]:
    """`fit_matrix` of the rows times beta; penalties that are None come from cross-validation. And the penalties."""
    k = rows.num_classes
    inputs = partial(scaled, beta=beta, log_softmax=log_softmax, size=1 << 23)
    reach = float(
        torch.stack([x.square().mean() for x, _ in scaled(rows, beta, log_softmax=log_softmax)(Several())]).mean()
    )

    def penalties(n: int, width: float) -> tuple[float, float, float]:
        by_width = k / (2 * n * width**2)
        return (
            by_width * (k - 1) * k * reach if off_diagonal is None else off_diagonal,
            by_width if intercept is None else intercept,
            by_width,
        )

    factors: Factors | None = None

    def fit(part: Rows, width: float, start: AffineFit | None) -> AffineFit:
        nonlocal factors
        strengths = penalties(len(part), width)
        if start is None:
            start = fit_diagonal(inputs(part), k, strengths[1], scale_ridge=strengths[2], tolerance=_ROUGH)
            factors = kronecker(inputs(part), k, start)
        most = 2 if many else 50
        return fit_matrix(inputs(part), k, *strengths, start=start, most=most, factors=factors, tolerance=_ROUGH)

    many = len(rows) * k * k > _WORK
    width, found = WIDTHS[-1], None
    if None in (off_diagonal, intercept):
        width, found = prior_width(rows, fit, inputs)
        found = replace(found, scale=found.scale.diagonal())
    strengths = penalties(len(rows), width)
    first = fit_diagonal(inputs(rows), k, strengths[1], scale_ridge=strengths[2], start=found)
    made = fit_matrix(
        inputs(rows), k, *strengths, start=first, most=4 if many else 200, factors=factors if many else None
    )
    return made, {"off_diagonal": strengths[0], "intercept": strengths[1]}


def scaled(rows: Rows, beta: float, *, log_softmax: bool = False, size: int = 1 << 20) -> Blocks:
    """The rows' logits times beta, block by block; with `log_softmax`, their logarithmic probabilities times beta."""

    def blocks(us: Several) -> Iterator[tuple[Tensor, Tensor]]:
        for z, y in rows.blocks(size=size, us=us):
            yield (z.log_softmax(dim=1) if log_softmax else z) * beta, y

    return blocks


def prior_width(
    rows: Rows, fit: Callable[[Rows, float, AffineFit | None], AffineFit], inputs: Callable[[Rows], Blocks]
) -> tuple[float, AffineFit]:
    """The width of the ridge's prior, in logit units, whose fit makes held-out rows most likely; and a fit under it.

    Args:
        fit: the map fitted to some rows under a width, from a start.
        inputs: what the map is applied to.

    The width does not depend on the number of rows, so that where there are many a sample chooses it. The search goes
    from stiff to free and ends when a width is worse than the one before, by more than the fits are exact to; of
    widths that are as good as the best it is the stiffest.
    """
    pairs, fits = folds(rows), {}
    found: list[AffineFit | None] = [None] * len(pairs)
    losses = torch.full((len(WIDTHS),), torch.inf, dtype=torch.float64)
    for index, width in enumerate(WIDTHS):
        if index > 1 and losses[index - 1] > (1 + _ROUGH) * losses[index - 2]:
            break
        losses[index] = 0.0
        for number, (part, held) in enumerate(pairs):
            found[number] = fits[index] = made = fit(part, width, found[number])
            losses[index] += mean_nll(inputs(held), made.scale, made.shift)
    best = int((losses <= (1 + _ROUGH) * losses.min()).int().argmax())
    return WIDTHS[best], fits[best]


def folds(rows: Rows, parts: int = 5) -> list[tuple[Rows, Rows]]:
    """Pairs of (fit on, judge on) for cross-validation; one pair where there are many logits, of a sample if very many.

    The same split for the same rows. A class without a row in the first of a pair is no harm: its ridge holds it.

    Raises: BadInput if all rows are of one group, which no split may divide.
    """
    most = _SAMPLE // rows.logits.shape[1] if rows.logits.nelement() > _SAMPLE else None
    parted = pieces(len(rows), parts, np.random.default_rng(0), rows.groups, most=most)
    if len(parted) < 2:
        raise BadInput(
            "all rows are of one group, so cross-validation cannot choose the strength of a penalty: give it."
        )
    pairs = []
    for held in range(1 if rows.logits.nelement() > _MANY else len(parted)):
        rest = torch.cat([piece for index, piece in enumerate(parted) if index != held])
        pairs.append((rows.pick(rest), rows.pick(parted[held])))
    return pairs
