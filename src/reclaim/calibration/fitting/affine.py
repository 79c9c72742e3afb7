"""Maximum likelihood for affine maps: L-BFGS with analytic gradients, over blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch import Tensor

from reclaim.calibration.fitting.temperature import LOG2E
from reclaim.core.affine import Affine
from reclaim.core.arrays import as_numpy
from reclaim.core.several import Several, several

__all__ = ["AffineFit", "Blocks", "Factors", "fit_diagonal", "fit_matrix", "kronecker", "mean_nll"]

Blocks = Callable[[Several], Iterator[tuple[Tensor, Tensor]]]  # of several processes each goes over its own
Factors = tuple[Tensor, Tensor, Tensor, Tensor]
_LARGE = 200  # classes from which on several threads pay


@dataclass(frozen=True)
class AffineFit:
    """The map ``x -> scale x + shift`` that was found.

    Attributes:
        scale: [K], or [K, K]; shift: [K]. Both float64 and on the CPU, wherever the rows are.
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

    def details(self) -> dict[str, Any]:
        """How it went, for a calibrator's record."""
        return {
            "nll": self.nll,
            "gradient": self.gradient,
            "iterations": self.iterations,
            "converged": self.converged,
        }


def mean_nll(blocks: Blocks, scale: Tensor, shift: Tensor) -> float:
    """Mean negative log-likelihood of ``softmax(scale x + shift)``."""
    total, n = 0.0, 0
    for x, y in blocks(several()):
        t = Affine(scale, shift).of(x)
        total += float((t.logsumexp(dim=1) - t.gather(1, y[:, None]).squeeze(1)).sum(dtype=torch.float64))
        n += len(y)
    total, n = _summed(total, n)
    return total / n


def fit_diagonal(
    blocks: Blocks,
    k: int,
    ridge: float,
    *,
    scale_ridge: float | None = None,
    scales: bool = True,
    start: AffineFit | None = None,
    most: int = 200,
    tolerance: float = 1e-10,
) -> AffineFit:
    """``x -> w x + b`` that minimises ``NLL + ridge mean((w - 1)^2 + b^2)``; without `scales`, one common w.

    Args:
        scale_ridge: of w, where it differs from that of b.
        k: classes, K.
        start: a fit to start from.
        most: iterations.
        tolerance: relative decrease of the objective at which to end.
    """
    width = k if scales else 1
    curvatures = _curvatures(blocks, scales)
    origin = torch.cat([torch.ones(width), torch.zeros(k)]).to(curvatures)
    at = origin if start is None else torch.cat([start.scale if scales else start.scale[:1], start.shift]).to(origin)
    pull = torch.full_like(origin, ridge / k)
    pull[:width] = (ridge if scale_ridge is None else scale_ridge) / k
    unit = (curvatures + 2 * pull).clamp_min_(1e-7).rsqrt_()

    def objective(theta: Tensor) -> tuple[float, Tensor, float]:
        nll, gradient, n = 0.0, torch.zeros_like(theta), 0
        w, b = theta[:width], theta[width:]
        for x, y in blocks(several()):
            p = torch.addcmul(b.to(x), x, w.to(x))
            nll += _misses(p, y)
            gradient[width:] += p.sum(dim=0)
            by_class = p.mul_(x).sum(dim=0).double()
            gradient[:width] += by_class if scales else by_class.sum()
            n += len(y)
        gradient, (nll, n) = several().summed(gradient), _summed(nll, n)
        away = theta - origin
        value = nll / n + float(pull @ away.square())
        return value, gradient / n + 2 * pull * away, nll / n

    found, fit = _minimise(objective, at, unit, most, tolerance, k > _LARGE)
    found = found.cpu()
    return AffineFit(found[:width].expand(k).clone() if not scales else found[:k], found[width:], *fit)


def _summed(total: float, rows: int) -> tuple[float, int]:
    """A sum over rows and how many they are, over all processes that share them."""
    if several().count == 1:
        return total, rows
    whole, count = several().summed(torch.tensor([total, rows], dtype=torch.float64)).tolist()
    return whole, int(count)


def _misses(t: Tensor, y: Tensor) -> float:
    """Turn logits [n, K] in place into their loss's gradient, ``softmax - one-hot label``. Returns the summed loss."""
    own, top = t.gather(1, y[:, None]), t.amax(dim=1, keepdim=True)
    mass = t.sub_(top).mul_(LOG2E).exp2_().sum(dim=1, keepdim=True)
    t.div_(mass).scatter_add_(1, y[:, None], t.new_full((len(y), 1), -1.0))
    return float((mass.log() + top - own).sum(dtype=torch.float64))


def _curvatures(blocks: Blocks, scales: bool) -> Tensor:
    """The diagonal of the Hessian at the identity, [width + K]: the units in which L-BFGS sees a round bowl."""
    once, twice, n = torch.zeros(()), torch.zeros(()), 0
    for x, y in blocks(Several()):
        if n > 1 << 13:
            break
        p = x.softmax(dim=1)
        p.mul_(1 - p)
        once = once + p.sum(dim=0).double()
        twice = twice + p.mul_(x).mul_(x).sum(dim=0).double()
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
    start: AffineFit,
    most: int = 200,
    factors: Factors | None = None,
    tolerance: float = 1e-10,
) -> AffineFit:
    """``x -> W x + b`` that minimises the NLL and three penalties, all of them strength times mean square.

    `off_diagonal` is on ``W_ij``, i != j; `intercept` on b; `diagonal` on ``W_ii - 1``. L-BFGS runs in the eigenbasis
    of the Hessian's Kronecker factors, where few steps are enough; any `factors` from nearby will do.
    """
    a, basis_a, o, basis_o = factors or kronecker(blocks, k, start)
    eye = torch.eye(k, dtype=torch.bool, device=a.device)
    pull = a.new_full((k, k), off_diagonal / (k * (k - 1))).masked_fill_(eye, diagonal / k)
    unit = (o[:, None] * a[None, :] + 2 * pull.mean()).clamp_min_(1e-6).rsqrt_()
    unit_b = (basis_o.square() @ o.to(basis_o.dtype) + 2 * intercept / k).double().clamp_min(1e-6).rsqrt()
    units = torch.cat([unit.reshape(-1), unit_b])
    first = (start.scale if start.scale.ndim == 2 else torch.diag(start.scale)).to(a)

    def matrix(theta: Tensor) -> Tensor:
        return first + _turned(basis_o, theta[: k * k].view(k, k), basis_a.T)

    def objective(theta: Tensor) -> tuple[float, Tensor, float]:
        w, b = matrix(theta), theta[k * k :]
        nll, by_w, by_b, n = 0.0, torch.zeros_like(w), torch.zeros_like(b), 0
        for x, y in blocks(several()):
            p = torch.addmm(b.to(x), x, w.to(x).T)
            nll += _misses(p, y)
            by_w += p.T @ x
            by_b += p.sum(dim=0)
            n += len(y)
        by_w, by_b, (nll, n) = several().summed(by_w), several().summed(by_b), _summed(nll, n)
        away = torch.where(eye, w - 1, w)
        value = nll / n + float((pull * away.square()).sum()) + intercept / k * float(b @ b)
        by_w, by_b = by_w / n + 2 * pull * away, by_b / n + 2 * intercept / k * b
        return value, torch.cat([_turned(basis_o.T, by_w, basis_a).double().reshape(-1), by_b]), nll / n

    at = torch.cat([a.new_zeros(k * k), start.shift.to(a)])
    found, fit = _minimise(objective, at, units, most, tolerance, k > _LARGE)
    return AffineFit(matrix(found).cpu(), found[k * k :].cpu(), *fit)


def _turned(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    return left @ (middle.to(left.dtype) @ right)


def kronecker(blocks: Blocks, k: int, at: AffineFit) -> Factors:
    """Eigenvalues [K] and vectors [K, K] of the factors of the Hessian: of mean x xᵀ, and of mean diag(p) - p pᵀ."""
    inputs, outputs, n = torch.zeros(()), torch.zeros(()), 0
    for x, y in blocks(several()):
        p = Affine(at.scale, at.shift).of(x).softmax(dim=1)
        inputs = inputs + (x.T @ x).double()
        outputs = outputs + (torch.diag(p.sum(dim=0)) - p.T @ p).double()
        n += len(y)
    inputs, outputs = (several().summed(sums.double().expand(k, k)) for sums in (inputs, outputs))
    _, n = _summed(0.0, n)
    (a, basis_a), (o, basis_o) = torch.linalg.eigh(inputs / n), torch.linalg.eigh(outputs / n)
    kind = torch.float32 if k > _LARGE else torch.float64  # only a basis to search in: it need not be exact
    return a, basis_a.to(kind), o, basis_o.to(kind)


def _minimise(
    objective: Callable[[Tensor], tuple[float, Tensor, float]],
    at: Tensor,
    unit: Tensor,
    most: int,
    tolerance: float,
    large: bool,
) -> tuple[Tensor, tuple[float, float, int, bool]]:
    """L-BFGS in the coordinates ``theta / unit``: the optimum, and (nll, gradient, iterations, converged)."""
    best: tuple[float, Tensor, float, float] = (float("inf"), at, float("nan"), float("nan"))

    def round_bowl(x: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        nonlocal best
        theta = torch.from_numpy(x).to(unit) * unit
        value, gradient, nll = objective(theta)
        if value < best[0]:
            best = value, theta.clone(), nll, float(gradient.abs().max())
        return value, as_numpy(gradient * unit)

    options = {"maxiter": most, "maxcor": 20, "ftol": max(tolerance, 1e-8) if large else tolerance, "gtol": 1e-7}
    with threadpool_limits(None if large else 1):  # threads that wait for each other cost far more than small work
        ended = minimize(round_bowl, as_numpy(at / unit), jac=True, method="L-BFGS-B", options=options)
    return best[1], (best[2], best[3], int(ended.nit), bool(ended.success))
