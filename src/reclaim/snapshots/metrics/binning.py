"""Pairs of a probability and an outcome, summed by bins: what every binned estimator starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reclaim.core.arrays import rank, sorted_values

__all__ = ["Binned", "Scheme", "bin_of", "binned"]

Scheme = Literal["width", "mass"]


@dataclass(frozen=True)
class Binned:
    """Sums over the rows of each bin, [M] float64 each, in ascending order of probability; bins may be empty.

    Attributes:
        count: rows.
        forecast: their probabilities, summed: the hits to expect.
        hits: their outcomes, summed.
    """

    count: Tensor
    forecast: Tensor
    hits: Tensor


def binned(p: Tensor, hit: Tensor, bins: int = 15, scheme: Scheme = "width") -> Binned:
    """Sum [N] probabilities and [N] outcomes, 0 or 1, by the bins of `bin_of`."""
    p, hit = p.double(), hit.double()
    index, count = bin_of(p, bins, scheme)
    sums = (torch.bincount(index, weights, minlength=count) for weights in (p, hit))
    return Binned(torch.bincount(index, minlength=count).double(), *sums)


def bin_of(p: Tensor, bins: int = 15, scheme: Scheme = "width") -> tuple[Tensor, int]:
    """The bin (l, u], closed on the right, of each of [N] probabilities, counted from 0; and how many bins there are.

    Args:
        scheme: "width" cuts [0, 1] into equal parts; "mass" puts as equal numbers of rows into each bin as equal
            probabilities allow: rows of one probability share one bin, so there may be fewer bins.

    Differs: a probability of exactly 0 belongs to the first bin instead of none.
    """
    p = p.double()
    if scheme == "width":
        return (p * bins).ceil_().long().clamp_(1, bins).sub_(1), bins
    ordered = sorted_values(p)
    last = torch.arange(1, bins + 1, device=p.device) * len(p) // bins - 1
    upper = ordered[last[last >= 0]].unique_consecutive()
    return rank(upper, p), len(upper)
