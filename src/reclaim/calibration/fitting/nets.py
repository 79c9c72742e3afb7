"""Small nets that bend a temperature: they start at it, learn from calibration rows, and stop before they overfit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from reclaim.calibration.fitting.temperature import Found, slope
from reclaim.calibration.rows import Rows
from reclaim.core.arrays import A, as_kind, as_numpy, as_tensor, row_blocks
from reclaim.core.groups import pieces

__all__ = ["Net", "by_blocks", "learn", "sampled", "settled"]

T = TypeVar("T", bound=Any)

_MOST = 1 << 20  # logits that a net learns from; where there are more, a sample
_RUN = 20  # steps after which L-BFGS starts afresh
_PATIENCE = 20  # steps without progress on held-out rows
_FOLDS = 3


@dataclass(frozen=True)
class Net:
    """One hidden layer of tanh, so that the output is bounded whatever comes in.

    Attributes:
        inputs: [2, D], centre and spread of each input.
        first: [H, D + 1]; second: [O, H + 1]; the last column of each is the bias.
    """

    inputs: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def start(cls, x: Tensor, hidden: int, outputs: int, seed: int) -> Net:
        """A net for inputs like `x` [N, D], where they lie, that says 0 to all of them."""
        width = x.shape[1]
        first = torch.from_numpy(np.random.default_rng(seed).normal(size=(hidden, width + 1))).to(x.device)
        first[:, :-1] *= 2 / math.sqrt(width)
        inputs = torch.stack([x.mean(dim=0), x.std(dim=0, correction=0).clamp_min(1e-6)]).double()
        return cls(inputs, first, first.new_zeros(outputs, hidden + 1))

    def __call__(self, x: Tensor) -> Tensor:
        """[N, D] -> [N, O], in the precision of `x`."""
        (centre, spread), first, second = self.inputs.to(x), self.first.to(x), self.second.to(x)
        hidden = torch.addmm(first[:, -1], (x - centre) / spread, first[:, :-1].T).tanh()
        return torch.addmm(second[:, -1], hidden, second[:, :-1].T)

    def single(self) -> Net:
        """The same in single precision on the CPU, as it is kept."""
        return Net(*(part.float().cpu() for part in (self.inputs, self.first, self.second)))


def learn(loss: Callable[[Net, Tensor], Tensor], rows: Rows, start: Net, seed: int, most: int = 200) -> tuple[Net, int]:
    """The net that L-BFGS finds from the start, and its steps: as many as suit held-out rows, by cross-validation.

    Args:
        loss: mean loss of the rows [n] of an index under a net.
        rows: those that the index counts.
        most: steps.

    A ridge of unit width pulls towards the start. So on the rows that it learned from, the net is never worse.
    """
    n = len(rows)
    where = rows.logits.device
    folds = [part.sort().values.to(where) for part in pieces(n, _FOLDS, np.random.default_rng(seed), rows.groups)]
    if len(folds) < 2:
        return start, 0
    with _one_thread():
        paths = [_descend(loss, torch.cat(folds[:held] + folds[held + 1 :]), start, most) for held in range(len(folds))]
        nets, best, steps = [start] * len(folds), np.inf, 0
        for step in range(most + 1):
            now = sum(float(loss(net, held)) * len(held) for net, held in zip(nets, folds, strict=True)) / n
            best, steps = (now, step) if now < best else (best, steps)
            if step - steps >= _PATIENCE:
                break
            nets = [next(path, net) for path, net in zip(paths, nets, strict=True)]
        path = [start, *_descend(loss, torch.arange(n, device=where), start, steps)]
    return path[-1], steps


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many short operations: threads would wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _descend(loss: Callable[[Net, Tensor], Tensor], rows: Tensor, start: Net, steps: int) -> Iterator[Net]:
    """The net after each step; in runs of a few, so that the caller can stop."""
    at = torch.cat([start.first.flatten(), start.second.flatten()])
    split = start.first.numel()

    def net(theta: Tensor) -> Net:
        return replace(start, first=theta[:split].view_as(start.first), second=theta[split:].view_as(start.second))

    def objective(x: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        with torch.enable_grad():
            theta = torch.tensor(x, device=at.device, requires_grad=True)
            value = loss(net(theta), rows) + (theta - at).square().sum() / (2 * len(rows))
            (gradient,) = torch.autograd.grad(value, theta)
        return float(value.detach()), as_numpy(gradient)

    x = as_numpy(at)
    options = {"maxcor": 20, "ftol": 1e-9, "gtol": 1e-7}
    for begun in range(0, steps, _RUN):
        path: list[np.ndarray[Any, Any]] = []
        most = min(_RUN, steps - begun)
        minimize(
            objective,
            x,
            jac=True,
            method="L-BFGS-B",
            options=options | {"maxiter": most},
            callback=partial(_append_copy, path),
        )
        for theta in path:
            yield net(torch.from_numpy(theta).to(at))
        if len(path) < most:
            return
        x = path[-1]


def _append_copy(path: list[np.ndarray[Any, Any]], theta: np.ndarray[Any, Any]) -> None:
    path.append(theta.copy())


def sampled(rows: Rows, seed: int) -> Rows:
    """The rows, or where there are very many a sample of them."""
    most = max(1, _MOST // rows.num_classes)
    if len(rows) <= most:
        return rows
    return rows.pick(torch.from_numpy(np.random.default_rng(seed).permutation(len(rows))[:most]))


def settled(made: T, plain: T, rows: Rows, found: Found, **more: Any) -> T:
    """`made` with its details; or `plain`, the best temperature alone, if that makes the rows more likely."""
    total = 0.0
    for block in row_blocks(rows.logits):
        t = made(rows.logits[block].double())[:, rows.seen]
        total += float((t.logsumexp(dim=1) - t.gather(1, rows.labels[block, None]).squeeze(1)).sum())
    nll, note = total / len(rows), found.note
    if nll > found.nll:
        made, nll, note = plain, found.nll, note or "the single temperature was better"
    before = slope(rows, 1.0, curvature=False).nll
    details = {"nll_before": before, "nll_temperature": found.nll, "nll": nll, **more, "note": note}
    return replace(made, fitted=rows.fitted(details))


def by_blocks(change: Callable[[Tensor], Tensor], logits: A) -> A:
    """`change` of logits [N, C] in double precision, block by block, in the kind and type that they came in."""
    z = as_tensor(logits)
    kind = z.dtype if z.is_floating_point() else torch.float32
    limit = torch.finfo(kind).max
    blocks: list[Tensor] = [change(z[rows].double()).clamp(-limit, limit).to(kind) for rows in row_blocks(z)]
    return as_kind(torch.cat([z[:0].to(kind), *blocks]), logits)
