"""Calibrators that work on probabilities: of seen classes among each other, and back to logits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reclaim.calibration.rows import Rows, check_columns, rejoin
from reclaim.core.arrays import A, as_kind, as_tensor

__all__ = ["TRACE", "binary_newton", "class_by_class", "cooled", "inside_probabilities", "joined", "log_odds", "traced"]

_COLUMNS = 1 << 25  # bytes of the columns that are held at once where rows are read for each class

TRACE = 0.01  # of the given probability is mixed into maps that are flat in places, so that order and zeros survive


def cooled(z: Tensor, temperature: float) -> Tensor:
    """The probabilities [N, K] of logits divided by a temperature, float64."""
    return (z.double() / temperature).softmax(dim=1)


def class_by_class(rows: Rows, temperature: float) -> Iterator[Tensor]:
    """The probabilities [N] of every row, of one seen class after the other, float64.

    Rows are read once for as many classes as take 32 MB, so that no [N, K] is held where there are many rows.
    """
    (total,) = rows.per_row(1, lambda z, _: (z.double() / temperature).logsumexp(dim=1)[None])
    most = max(1, _COLUMNS // (8 * len(rows)))
    for first in range(0, rows.num_classes, most):
        held, start = total.new_empty(min(most, rows.num_classes - first), len(rows)), 0
        for z, _ in rows.blocks():
            part = slice(start, start + len(z))
            held[:, part] = (z[:, first : first + most].double() / temperature - total[part, None]).exp_().T
            start += len(z)
        for column in held:
            yield column.clone()  # of its own, so that these columns go before the next ones come
        del held, column


def inside_probabilities(
    logits: A, seen: tuple[bool, ...], what: str, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N, C], `seen` as a mask [C], and the probabilities [N, K] of seen classes among each other, float64."""
    z = as_tensor(logits)
    mask = check_columns(z, seen, what)
    return z, mask, cooled(z[:, mask], temperature)


def traced(made: Tensor, p: Tensor) -> Tensor:
    """A map's probabilities with a trace of the given ones."""
    return made.mul_(1 - TRACE).add_(p, alpha=TRACE)


def joined(logits: A, z: Tensor, seen: Tensor, p: Tensor, *, keep_top: bool = False, scale: float = 1.0) -> A:
    """Logits [N, C] whose softmax over seen classes is `p` [N, K] up to a factor; the groups keep their margin.

    Absent logits and the margin are multiplied with `scale`.

    With `keep_top`, the largest seen logit stays the only largest even where `p` says so up to rounding only.
    """
    inside = p.clamp_min(torch.finfo(p.dtype).tiny).log_()
    made = rejoin(z, seen, inside.sub_(inside.logsumexp(dim=1, keepdim=True)), scale)
    if keep_top:
        columns = seen.nonzero().squeeze(1)
        old, new = z.index_select(1, columns), made.index_select(1, columns)
        top = new.amax(dim=1, keepdim=True)
        level = (new == top) & (old < old.amax(dim=1, keepdim=True))
        new = torch.where(
            level,
            torch.nextafter(top.float(), torch.full_like(top, -torch.inf, dtype=torch.float32)).to(new.dtype),
            new,
        )
        made = made.index_copy(1, columns, new)
    return as_kind(made, logits)


def binary_newton(
    rows: Rows, *, slopes: int, temperature: float = 1.0, active: Tensor | None = None, width: float = 10.0
) -> Tensor:
    """One logistic regression per seen class, all of them at once: is the label this class?

    The inputs are ``ln p`` and ``-ln(1 - p)``, or with one slope their sum, the log odds.

    Args:
        slopes: 1 or 2.
        temperature: that makes the probabilities p.
        active: [K, slopes] bool, which slopes are free; the others are 0.
        width: of a normal prior around the identity, which keeps a class that is told apart without error finite.

    Returns: [K, slopes + 1] on the device of the logits, the intercept last.
    """
    k, size = rows.num_classes, slopes + 1
    free = rows.logits.new_ones(k, size, dtype=torch.bool)
    if active is not None:
        free[:, :slopes] = active
    origin = free.double()
    origin[:, -1] = 0.0
    theta, damping = origin.clone(), origin.new_full((k,), 1e-3)
    loss, slope, bend = _binary(rows, theta, slopes, temperature)
    for _ in range(60):
        gradient = (slope + (theta - origin) / width**2).masked_fill(~free, 0.0)
        hessian = bend + torch.eye(size).to(theta) * (1 / width**2 + damping[:, None, None])
        hessian = hessian.masked_fill(~(free[:, :, None] & free[:, None, :]), 0.0)
        hessian += torch.diag_embed((~free).double())
        step = torch.linalg.solve(hessian, gradient)
        if float(step.abs().max()) < 1e-9:
            break
        trial = theta - step
        made = _binary(rows, trial, slopes, temperature)
        here, there = ((at - origin).square().sum(dim=1) / (2 * width**2) for at in (theta, trial))  # the prior's part
        better = made[0] + there <= loss + here + 1e-12
        damping = torch.where(better, damping * 0.1, damping * 10 + 1e-3)
        theta = torch.where(better[:, None], trial, theta)
        loss, slope = torch.where(better, made[0], loss), torch.where(better[:, None], made[1], slope)
        bend = torch.where(better[:, None, None], made[2], bend)
        if not better.any() and float(damping.min()) > 1e9:
            break
    return theta


def _binary(rows: Rows, theta: Tensor, slopes: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Summed loss [K], its gradient [K, F] and Hessian [K, F, F]."""
    k, size = theta.shape
    loss, gradient, hessian = theta.new_zeros(k), theta.new_zeros(k, size), theta.new_zeros(k, size, size)
    for z, y in rows.blocks(size=1 << 18):
        inputs = log_odds(cooled(z, temperature), slopes)
        t = sum(part * theta[:, i] for i, part in enumerate(inputs)) + theta[:, -1]
        hit = torch.zeros_like(t).scatter_(1, y[:, None], 1.0)
        q = t.sigmoid()
        loss += (torch.nn.functional.softplus(t) - hit * t).sum(dim=0)
        miss, weight = q - hit, q * (1 - q)
        inputs = [*inputs, torch.ones_like(t)]
        for i, a in enumerate(inputs):
            gradient[:, i] += (miss * a).sum(dim=0)
            for j, b in enumerate(inputs[: i + 1]):
                part = (weight * a * b).sum(dim=0)
                hessian[:, i, j] += part
                if i != j:
                    hessian[:, j, i] += part
    return loss, gradient, hessian


def log_odds(p: Tensor, slopes: int) -> list[Tensor]:
    """``[ln p, -ln(1 - p)]``, or their sum alone; p [N, K] clipped to [1e-12, 1 - 1e-12]."""
    p = p.clamp(1e-12, 1 - 1e-12)
    parts = [p.log(), -torch.log1p(-p)]
    return parts if slopes == 2 else [parts[0] + parts[1]]
