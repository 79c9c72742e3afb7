"""Pairs of a probability and an outcome, summed by bins: what every binned estimator starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reclaim.core.arrays import rank, sorted_values

__all__ = ["Binned", "Scheme", "binned"]

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
    """Sum [N] probabilities and [N] outcomes, 0 or 1, by bins (l, u], closed on the right.

    Args:
        scheme: "width" cuts [0, 1] into equal parts; "mass" puts as equal numbers of rows into each bin as equal
            probabilities allow: rows of one probability share one bin, so there may be fewer bins.

    Differs: a probability of exactly 0 belongs to the first bin instead of none.
    """
    p, hit = p.double(), hit.double()
    if scheme == "width":
        index = (p * bins).ceil().long().clamp(1, bins) - 1
    else:
        ordered = sorted_values(p)
        last = torch.arange(1, bins + 1, device=p.device) * len(p) // bins - 1
        upper = ordered[last[last >= 0]].unique_consecutive()
        index, bins = rank(upper, p), len(upper)
    sums = (torch.bincount(index, weights, minlength=bins) for weights in (torch.ones_like(p), p, hit))
    return Binned(*sums)
