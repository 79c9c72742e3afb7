"""Functions of one number with many steps or knots, one for all classes or one per class, in two flat tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Knots", "bin_edges", "bin_means"]


@dataclass(frozen=True)
class Knots:
    """Functions given by points.

    Attributes:
        x, y: the points of all functions, one function after the other, float64; x ascends within a function. A card
            searches them all at once, as a traced graph does.
        sizes: how many points each function has.
    """

    x: Tensor
    y: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, functions: Sequence[tuple[Tensor, Tensor]]) -> Knots:
        """From (x, y) of each function, wherever they lie, on the CPU."""
        return cls(
            torch.cat([x.cpu() for x, _ in functions]).double(),
            torch.cat([y.cpu() for _, y in functions]).double(),
            tuple(len(x) for x, _ in functions),
        )

    def lines(self, p: Tensor) -> Tensor:
        """Straight lines between the points, constant outside; column k of `p` [N, K] by function k, or all by one."""
        if torch.compiler.is_compiling() or p.device.type != "cpu":
            x, y, sizes = self._there(p)
            ends = sizes.cumsum(0)
            slopes = torch.cat([y.diff() / x.diff(), y.new_zeros(1)]).index_fill(0, ends - 1, 0.0)
            left = torch.maximum(self._behind(p, torch.le) - 1, ends - sizes)
            return y[left] + slopes[left] * (p - x[left]).clamp_min(0)
        parts = zip(self.x.split(self.sizes), self.y.split(self.sizes), strict=True)
        columns = p.T.contiguous().numpy() if len(self.sizes) > 1 else [p.numpy()]
        made = [np.interp(column, x.numpy(), y.numpy()) for column, (x, y) in zip(columns, parts, strict=True)]
        return torch.from_numpy(np.stack(made, axis=1) if len(self.sizes) > 1 else made[0])

    def steps(self, p: Tensor) -> Tensor:
        """The value of the bin: `x` are the bins' upper edges, the last one infinite; column k by function k."""
        if torch.compiler.is_compiling() or p.device.type != "cpu":
            return self._there(p)[1][self._behind(p, torch.lt)]
        parts = zip(self.x.split(self.sizes), self.y.split(self.sizes), strict=True)
        return torch.stack([y[torch.bucketize(p[:, k].contiguous(), x)] for k, (x, y) in enumerate(parts)], dim=1)

    def _there(self, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points and sizes on the device of `p`."""
        return self.x.to(p.device), self.y.to(p.device), torch.tensor(self.sizes, device=p.device)

    def _behind(self, p: Tensor, before: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Where each of `p` goes among all the points: behind those of its function that are `before` it.

        By halving, for all functions at once: on a CPU slower than a loop over the functions, but few steps of a
        traced graph, and few kernels.
        """
        x, _, sizes = self._there(p)
        ends = sizes.cumsum(0)
        at = (ends - sizes).expand_as(p)
        for bit in reversed(range(max(self.sizes).bit_length())):
            further = at + 2**bit
            reached = before(x[(further - 1).clamp_max(len(x) - 1)], p)
            at = torch.where((further <= ends) & reached, further, at)
        return at


def bin_edges(ordered: Tensor, bins: int) -> Tensor:
    """Upper edges of bins of the values [N], given in ascending order and not negative; the last one is infinite.

    Half of the cuts part the values into equally many, half part their sum evenly. Probabilities of one class among
    many are nearly all small: bins of equally many rows alone would put every large one into the last.

    Edges lie midway between two neighbours that differ, so that equal values share a bin; a cut inside a run of equal
    values moves to its end, and there may be fewer bins.
    """
    n, by_sum = len(ordered), ordered.double().cumsum(0)
    where = ordered.device
    rows = torch.arange(1, bins - (bins - 1) // 2, device=where) * n // (bins - (bins - 1) // 2)
    mass = torch.arange(1, (bins - 1) // 2 + 1, device=where) * by_sum[-1] / ((bins - 1) // 2 + 1)
    cuts = torch.cat([rows, torch.searchsorted(by_sum, mass)])
    cuts = torch.searchsorted(ordered, ordered[cuts[cuts > 0] - 1], right=True)
    cuts = cuts[cuts < n]
    middles = (ordered[cuts - 1] + ordered[cuts]) / 2
    return torch.cat([middles.unique(), ordered.new_full((1,), torch.inf)])


def bin_means(p: Tensor, values: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Upper edges of bins of `p` [N], see `bin_edges`, and the mean of `values` [N] in each."""
    edges = bin_edges(p.sort().values, bins)
    index = torch.bucketize(p.contiguous(), edges)
    total = p.new_zeros(len(edges), dtype=torch.float64).index_add_(0, index, values.double())
    return edges, total / torch.bincount(index, minlength=len(edges))
