"""Maximum likelihood for affine maps of logits: L-BFGS with analytic gradients, over blocks of rows.

All maps start at the best temperature, ``x = beta z``, so that the identity is near the optimum and penalties have no
units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch import Tensor

from reclaim.calibrators import Affine
from reclaim.calibrators._rows import Rows, mapped

__all__ = [
    "Blocks",
    "Fit",
    "absent_line",
    "fit_diagonal",
    "fit_matrix",
    "folds",
    "full",
    "kronecker",
    "mean_nll",
    "prior_width",
    "record",
    "ridged",
    "scaled",
]

Blocks = Callable[[], Iterator[tuple[Tensor, Tensor]]]
Factors = tuple[Tensor, Tensor, Tensor, Tensor]
WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 10.0)  # of the normal prior behind a ridge, in logit units, from stiff to free
_LARGE = 200  # classes from which on several threads pay


@dataclass(frozen=True)
class Fit:
    """The map ``x -> scale x + shift`` that was found.

    Attributes:
        scale: [K], or [K, K]; shift: [K]. Both float64.
        nll: mean negative log-likelihood of the rows, without the penalty.
        gradient: the largest entry of the objective's gradient.
        iterations: of L-BFGS.
        converged: whether it ended by itself.
    """

    scale: Tensor
    shift: Tensor
    nll: float
    gradient: float
    iterations: int
    converged: bool


def mean_nll(blocks: Blocks, scale: Tensor, shift: Tensor) -> float:
    """Mean negative log-likelihood of ``softmax(scale x + shift)``."""
    total, n = 0.0, 0
    for x, y in blocks():
        t = mapped(Affine(scale, shift), x)
        total += float((t.logsumexp(dim=1) - t.gather(1, y[:, None]).squeeze(1)).sum(dtype=torch.float64))
        n += len(y)
    return total / n


def scaled(rows: Rows, beta: float, *, log_softmax: bool = False, size: int = 1 << 20) -> Blocks:
    """The rows' logits times beta, block by block; with `log_softmax`, their logarithmic probabilities times beta."""

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        for z, y in rows.blocks(size=size):
            yield (z.log_softmax(dim=1) if log_softmax else z) * beta, y

    return blocks


def ridged(rows: Rows, beta: float, ridge: float | None, *, scales: bool) -> tuple[Fit, float]:
    """`fit_diagonal` of the rows times beta under a ridge, or under the one that cross-validation chooses; and it."""
    k = rows.num_classes

    def fit(part: Rows, width: float, start: Fit | None) -> Fit:
        return fit_diagonal(scaled(part, beta), k, k / (2 * len(part) * width**2), scales=scales, start=start)

    start = None
    if ridge is None:
        width, start = prior_width(rows, fit, lambda part: scaled(part, beta))
        ridge = k / (2 * len(rows) * width**2)
    return fit_diagonal(scaled(rows, beta), k, ridge, scales=scales, start=start), ridge


def absent_line(rows: Rows, affine: Affine, beta: float, *, slope: float | None = None) -> tuple[float, float]:
    """The line along which a map of the seen logits moves their largest of a row: absent logits move along it too.

    It is fitted to the largest of all and to the largest of the other classes than the row's own: the seen logits that
    a row of an absent class is up against are of that second kind.

    Args:
        beta: the slope where the rows do not tell.
        slope: the slope, where it is known.
    """
    if bool(rows.seen.all()):
        return beta, 0.0
    tops = []
    for z, y in rows.blocks():
        pair = torch.stack([z, mapped(affine, z)])
        others = pair.scatter(2, y.expand(2, -1)[:, :, None], -torch.inf)
        tops += [pair.amax(dim=2), others.amax(dim=2)]
    before, after = torch.cat(tops, dim=1).double()
    away = before - before.mean()
    variance = float(away.square().mean())
    if slope is None:
        slope = float((away * after).mean()) / variance if variance > 1e-12 else beta
        slope = slope if slope > 0.1 * beta else beta
    return slope, float((after - slope * before).mean())


def record(fit: Fit, **more: Any) -> dict[str, Any]:
    """How a fit went, for a calibrator's `details`."""
    return {
        "nll": fit.nll,
        "gradient": fit.gradient,
        "iterations": fit.iterations,
        "converged": fit.converged,
        **more,
    }


def full(
    rows: Rows, beta: float, off_diagonal: float | None, intercept: float | None, *, log_softmax: bool = False
) -> tuple[Fit, dict[str, float]]:
    """`fit_matrix` of the rows times beta; penalties that are None come from cross-validation. And the penalties."""
    k = rows.num_classes
    inputs = lambda part: scaled(part, beta, log_softmax=log_softmax, size=1 << 23)  # noqa: E731
    reach = float(torch.stack([x.square().mean() for x, _ in scaled(rows, beta, log_softmax=log_softmax)()]).mean())

    def penalties(n: int, width: float) -> tuple[float, float, float]:
        by_width = k / (2 * n * width**2)
        return (
            by_width * (k - 1) * k * max(reach, 1e-12) if off_diagonal is None else off_diagonal,
            by_width if intercept is None else intercept,
            by_width,
        )

    factors: Factors | None = None

    def fit(part: Rows, width: float, start: Fit | None) -> Fit:
        nonlocal factors
        strengths = penalties(len(part), width)
        if start is None:
            start = fit_diagonal(inputs(part), k, strengths[1], scale_ridge=strengths[2])
            factors = kronecker(inputs(part), k, start)
        return fit_matrix(inputs(part), k, *strengths, start=start, most=2 if many else 50, factors=factors)

    many = len(rows) * k * k > 1 << 32
    width, found = WIDTHS[-1], None
    if None in (off_diagonal, intercept):
        width, found = prior_width(rows, fit, inputs)
        found = Fit(found.scale.diagonal(), found.shift, *(0.0, 0.0, 0, False))
    strengths = penalties(len(rows), width)
    first = fit_diagonal(inputs(rows), k, strengths[1], scale_ridge=strengths[2], start=found)
    made = fit_matrix(
        inputs(rows), k, *strengths, start=first, most=4 if many else 200, factors=factors if many else None
    )
    return made, {"off_diagonal": strengths[0], "intercept": strengths[1]}


def fit_diagonal(
    blocks: Blocks,
    k: int,
    ridge: float,
    *,
    scale_ridge: float | None = None,
    scales: bool = True,
    start: Fit | None = None,
    most: int = 200,
) -> Fit:
    """``x -> w x + b`` that minimises ``NLL + ridge mean((w - 1)^2 + b^2)``; without `scales`, one common w.

    Args:
        scale_ridge: of w, where it differs from that of b.
        k: classes, K.
        start: a fit to start from.
        most: iterations.
    """
    width = k if scales else 1
    origin = torch.cat([torch.ones(width), torch.zeros(k)]).double()
    at = origin if start is None else torch.cat([start.scale if scales else start.scale[:1], start.shift])
    pull = torch.full((width + k,), ridge / k, dtype=torch.float64)
    pull[:width] = (ridge if scale_ridge is None else scale_ridge) / k
    unit = (_curvatures(blocks, k, scales) + 2 * pull).clamp_min_(1e-7).rsqrt_()

    def objective(theta: Tensor) -> tuple[float, Tensor, float]:
        nll, gradient, n = 0.0, torch.zeros(width + k, dtype=torch.float64), 0
        w, b = theta[:width], theta[width:]
        for x, y in blocks():
            p = torch.addcmul(b.to(x), x, w.to(x))
            own = p.gather(1, y[:, None])
            top = p.amax(dim=1, keepdim=True)
            p.sub_(top).mul_(1.4426950408889634).exp2_()
            mass = p.sum(dim=1, keepdim=True)
            nll += float((mass.log() + top - own).sum(dtype=torch.float64))
            p.div_(mass).scatter_add_(1, y[:, None], p.new_full((len(y), 1), -1.0))
            gradient[width:] += p.sum(dim=0)
            by_class = p.mul_(x).sum(dim=0).double()
            gradient[:width] += by_class if scales else by_class.sum()
            n += len(y)
        away = theta - origin
        value = nll / n + float(pull @ away.square())
        return value, gradient / n + 2 * pull * away, nll / n

    found, fit = _minimise(objective, at, unit, most, k > _LARGE)
    return Fit(found[:width].expand(k).clone() if not scales else found[:k], found[width:], *fit)


def _curvatures(blocks: Blocks, k: int, scales: bool) -> Tensor:
    """The diagonal of the Hessian at the identity, [width + K]: the units in which L-BFGS sees a round bowl."""
    once, twice, n = torch.zeros(k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64), 0
    for x, y in blocks():
        if n > 1 << 13:
            break
        p = x.softmax(dim=1)
        p.mul_(1 - p)
        once += p.sum(dim=0)
        twice += p.mul_(x).mul_(x).sum(dim=0)
        n += len(y)
    twice = twice if scales else twice.sum(0, keepdim=True)
    return torch.cat([twice, once]) / n


def fit_matrix(
    blocks: Blocks,
    k: int,
    off_diagonal: float,
    intercept: float,
    diagonal: float,
    *,
    start: Fit,
    most: int = 200,
    factors: Factors | None = None,
) -> Fit:
    """``x -> W x + b`` that minimises the NLL and three penalties, all of them strength times mean square.

    `off_diagonal` is on ``W_ij``, i != j; `intercept` on b; `diagonal` on ``W_ii - 1``. L-BFGS runs in the eigenbasis
    of the Hessian's Kronecker factors, where few steps are enough; any `factors` from nearby will do.
    """
    a, basis_a, o, basis_o = factors or kronecker(blocks, k, start)
    turned = lambda left, middle, right: left @ (middle.to(left.dtype) @ right)  # noqa: E731
    eye = torch.eye(k, dtype=torch.bool)
    pull = torch.full((k, k), off_diagonal / (k * (k - 1)), dtype=torch.float64).masked_fill_(eye, diagonal / k)
    unit = (o.clamp_min(0)[:, None] * a.clamp_min(0)[None, :] + 2 * pull.mean()).clamp_min_(1e-6).rsqrt_()
    unit_b = (basis_o.square() @ o.clamp_min(0).to(basis_o.dtype) + 2 * intercept / k).double().clamp_min(1e-6).rsqrt()
    units = torch.cat([unit.reshape(-1), unit_b])
    first = start.scale if start.scale.ndim == 2 else torch.diag(start.scale)

    def matrix(theta: Tensor) -> Tensor:
        return first + turned(basis_o, theta[: k * k].view(k, k), basis_a.T)

    def objective(theta: Tensor) -> tuple[float, Tensor, float]:
        w, b = matrix(theta), theta[k * k :]
        nll, by_w, by_b, n = 0.0, torch.zeros(k, k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64), 0
        for x, y in blocks():
            t = torch.addmm(b.to(x), x, w.to(x).T)
            own = t.gather(1, y[:, None])
            top = t.amax(dim=1, keepdim=True)
            p = t.sub_(top).mul_(1.4426950408889634).exp2_()
            mass = p.sum(dim=1, keepdim=True)
            nll += float((mass.log() + top - own).sum(dtype=torch.float64))
            p.div_(mass).scatter_add_(1, y[:, None], p.new_full((len(y), 1), -1.0))
            by_w += p.T @ x
            by_b += p.sum(dim=0)
            n += len(y)
        away = torch.where(eye, w - 1, w)
        value = nll / n + float((pull * away.square()).sum()) + intercept / k * float(b @ b)
        by_w, by_b = by_w / n + 2 * pull * away, by_b / n + 2 * intercept / k * b
        return value, torch.cat([turned(basis_o.T, by_w, basis_a).double().reshape(-1), by_b]), nll / n

    at = torch.cat([torch.zeros(k * k, dtype=torch.float64), start.shift])
    found, fit = _minimise(objective, at, units, most, k > _LARGE)
    return Fit(matrix(found), found[k * k :], *fit)


def kronecker(blocks: Blocks, k: int, at: Fit) -> Factors:
    """Eigenvalues [K] and vectors [K, K] of the factors of the Hessian: of mean x xᵀ, and of mean diag(p) - p pᵀ."""
    inputs, outputs, n = torch.zeros(k, k, dtype=torch.float64), torch.zeros(k, k, dtype=torch.float64), 0
    for x, y in blocks():
        p = mapped(Affine(at.scale, at.shift), x).softmax(dim=1)
        inputs += x.T @ x
        outputs += torch.diag(p.sum(dim=0)) - p.T @ p
        n += len(y)
    (a, basis_a), (o, basis_o) = torch.linalg.eigh(inputs / n), torch.linalg.eigh(outputs / n)
    kind = torch.float32 if k > _LARGE else torch.float64  # only a basis to search in: it need not be exact
    return a, basis_a.to(kind), o, basis_o.to(kind)


def _minimise(
    objective: Callable[[Tensor], tuple[float, Tensor, float]], at: Tensor, unit: Tensor, most: int, large: bool
) -> tuple[Tensor, tuple[float, float, int, bool]]:
    """L-BFGS in the coordinates ``theta / unit``: the optimum, and (nll, gradient, iterations, converged)."""
    best: tuple[float, Tensor, float, float] = (float("inf"), at, float("nan"), float("nan"))

    def round_bowl(x: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        nonlocal best
        theta = torch.from_numpy(x) * unit
        value, gradient, nll = objective(theta)
        if value < best[0]:
            best = value, theta.clone(), nll, float(gradient.abs().max())
        return value, (gradient * unit).numpy()

    options = {"maxiter": most, "maxcor": 20, "ftol": 1e-8 if large else 1e-10, "gtol": 1e-7}
    with threadpool_limits(None if large else 1):  # threads that wait for each other cost far more than small work
        ended = minimize(round_bowl, (at / unit).numpy(), jac=True, method="L-BFGS-B", options=options)
    return best[1], (best[2], best[3], int(ended.nit), bool(ended.success))


def prior_width(
    rows: Rows, fit: Callable[[Rows, float, Fit | None], Fit], inputs: Callable[[Rows], Blocks]
) -> tuple[float, Fit]:
    """The width of the ridge's prior, in logit units, whose fit makes held-out rows most likely; and a fit under it.

    Args:
        fit: the map fitted to some rows under a width, from a start.
        inputs: what the map is applied to.

    The width does not depend on the number of rows, so that where there are many a sample chooses it. There the search
    goes from stiff to free and ends when a width is no better than the one before.
    """
    pairs, fits = folds(rows), {}
    losses = torch.full((len(WIDTHS),), torch.inf, dtype=torch.float64)
    for number, (part, held) in enumerate(pairs):
        found = None
        for index, width in enumerate(WIDTHS):
            if len(pairs) == 1 and index > 1 and losses[index - 1] >= losses[index - 2]:
                break
            found = fits[index] = fit(part, width, found)
            loss = mean_nll(inputs(held), found.scale, found.shift)
            losses[index] = loss + (losses[index] if number else 0.0)
    best = int(losses.argmin())
    return WIDTHS[best], fits[best]


def folds(rows: Rows, parts: int = 5, most: int = 1 << 21) -> list[tuple[Rows, Rows]]:
    """Pairs of (fit on, judge on) for cross-validation; one pair, of a sample, where there are over `most` logits.

    The same split for the same rows. A class without a row in the first of a pair is no harm: its ridge holds it.
    """
    many = rows.logits.nelement() > most
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(rows)))
    pieces = order[: 4 * most // rows.logits.shape[1] if many else None].chunk(parts)
    pairs = []
    for held in range(1 if many else len(pieces)):
        rest = torch.cat([piece for index, piece in enumerate(pieces) if index != held])
        pairs.append((_pick(rows, rest), _pick(rows, pieces[held])))
    return pairs


def _pick(rows: Rows, which: Tensor) -> Rows:
    which = which.sort().values
    return Rows(rows.logits[which], rows.labels[which], rows.seen)
