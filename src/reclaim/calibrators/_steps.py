"""Functions of one number with many steps or knots, one for all classes or one per class, in two flat tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Knots", "bin_means", "equal_mass_edges"]


@dataclass(frozen=True)
class Knots:
    """Functions given by points.

    Attributes:
        x, y: the points of all functions, one function after the other, float64; x ascends within a function.
        sizes: how many points each function has.
    """

    x: Tensor
    y: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, functions: Sequence[tuple[Tensor, Tensor]]) -> Knots:
        """From (x, y) of each function."""
        return cls(
            torch.cat([x for x, _ in functions]).double(),
            torch.cat([y for _, y in functions]).double(),
            tuple(len(x) for x, _ in functions),
        )

    def lines(self, p: Tensor) -> Tensor:
        """Straight lines between the points, constant outside; column k of `p` [N, K] by function k, or all by one."""
        parts = zip(self.x.split(self.sizes), self.y.split(self.sizes), strict=True)
        columns = p.T.contiguous().numpy() if len(self.sizes) > 1 else [p.numpy()]
        made = [np.interp(column, x.numpy(), y.numpy()) for column, (x, y) in zip(columns, parts, strict=True)]
        return torch.from_numpy(np.stack(made, axis=1) if len(self.sizes) > 1 else made[0])

    def steps(self, p: Tensor) -> Tensor:
        """The value of the bin: `x` are the bins' upper edges, the last one infinite; column k by function k."""
        parts = zip(self.x.split(self.sizes), self.y.split(self.sizes), strict=True)
        return torch.stack([y[torch.bucketize(p[:, k].contiguous(), x)] for k, (x, y) in enumerate(parts)], dim=1)


def equal_mass_edges(ordered: Tensor, bins: int) -> Tensor:
    """Upper edges of bins with equally many of the values [N], given in ascending order; the last one is infinite.

    Edges lie midway between two neighbours that differ, so that equal values share a bin; a cut inside a run of equal
    values moves to its end, and there may be fewer bins.
    """
    cuts = torch.arange(1, bins) * len(ordered) // bins
    cuts = torch.searchsorted(ordered, ordered[cuts[cuts > 0] - 1], right=True)
    cuts = cuts[cuts < len(ordered)]
    middles = (ordered[cuts - 1] + ordered[cuts]) / 2
    return torch.cat([middles.unique(), torch.tensor([torch.inf], dtype=ordered.dtype)])


def bin_means(p: Tensor, values: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Upper edges of bins with equally many of `p` [N], and the mean of `values` [N] in each."""
    edges = equal_mass_edges(p.sort().values, bins)
    index = torch.bucketize(p.contiguous(), edges)
    total = torch.zeros(len(edges), dtype=torch.float64).index_add_(0, index, values.double())
    return edges, total / torch.bincount(index, minlength=len(edges))
