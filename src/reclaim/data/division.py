"""Dividing rows at random into two parts; what belongs together stays together."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["divided"]


def divided(num_rows: int, count: int, seed: int, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """About `count` rows at random, and the rest, as indices in ascending order.

    Without groups exactly `count` rows are drawn. With groups, whole ones are drawn, each as likely as any other, until
    one more would lead further away from `count`; of two groups or more, each side has at least one.

    Args:
        groups: [N] int64; rows of one group are on one side. One row per group is as good as no groups.
    """
    random = torch.Generator().manual_seed(seed)
    if groups is None:
        order = torch.randperm(num_rows, generator=random)
        return order[:count].sort().values, order[count:].sort().values
    _, index = groups.cpu().unique(return_inverse=True)
    first = torch.full((int(index.max()) + 1 if num_rows else 0,), num_rows).scatter_reduce(
        0, index, torch.arange(num_rows), "amin"
    )
    order = first.argsort()[torch.randperm(len(first), generator=random)]  # of the groups, numbered as they appear
    rows = torch.bincount(index, minlength=len(first))[order].cumsum(0)
    taken = int(((rows - count).abs()).argmin()) + 1 if len(rows) and count > 0 else 0
    if len(rows) > 1:
        taken = min(max(taken, 1), len(rows) - 1)
    here = torch.isin(index, order[:taken])
    return here.nonzero().squeeze(1), (~here).nonzero().squeeze(1)
