"""Rows that belong together: a patient's pictures, a document's sentences. What is counted is then the group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import as_tensor
from reclaim.core.errors import BadInput, BadKind, few

__all__ = ["check_members", "group_sums", "group_weights", "members_of", "pieces", "same_groups", "units"]


def members_of(values: object) -> tuple[Tensor, tuple[str, ...]]:
    """Groups as they come, numbers [N] or names [N], as [N] int64 and their names; numbers have none."""
    array = np.asarray(values)
    if array.dtype.kind not in "USO":
        return as_tensor(array), ()
    names, index = np.unique(array.astype(str), return_inverse=True)
    return torch.from_numpy(index.reshape(array.shape)).long(), tuple(map(str, names))


def check_members(groups: Tensor, num_rows: int, names: Sequence[str] = ()) -> Tensor:
    """The group of each row as int64 [N].

    Raises: BadKind if they are no whole numbers; BadInput for another length, a negative number, or one without a name.
    """
    if groups.is_floating_point() or groups.is_complex() or groups.dtype == torch.bool:
        raise BadKind(f"groups must be whole numbers, one per row; their type is {groups.dtype}.")
    if groups.shape != (num_rows,):
        raise BadInput(f"groups have shape {list(groups.shape)}, but there are {num_rows} rows.")
    if num_rows and int(groups.min()) < 0:
        raise BadInput(f"groups are numbered from 0; given: {int(groups.min())}.")
    if names and num_rows and int(groups.max()) >= len(names):
        raise BadInput(f"group {int(groups.max())} has no name; there are {len(names)} names: {few(names)}.")
    return groups.to(torch.int64)


def units(groups: Tensor | None, num_rows: int) -> int:
    """What is independent of each other: groups, or rows where each stands alone."""
    return num_rows if groups is None else len(groups.unique())


def same_groups(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two groupings [N] keep the same rows together, whatever the numbers of the groups."""
    pairs = torch.stack([ours.cpu(), theirs.cpu()])
    both = pairs.unique(dim=1).shape[1]
    return both == len(ours.unique()) == len(theirs.unique())


def group_sums(values: Tensor, groups: Tensor) -> Tensor:
    """The sum of the values [N] of each group that occurs, [G] float64, in ascending order of the groups."""
    present, index = groups.unique(return_inverse=True)
    return torch.zeros(len(present), dtype=torch.float64).index_add_(0, index.cpu(), values.cpu().double())


def group_weights(groups: Tensor) -> Tensor:
    """Of each row 1 / rows of its group, [N] float64: every group then counts once."""
    _, index, counts = groups.unique(return_inverse=True, return_counts=True)
    return 1 / counts.double()[index]


def pieces(
    num_rows: int, parts: int, random: np.random.Generator, groups: Tensor | None = None, *, most: int | None = None
) -> list[Tensor]:
    """The rows in a random order, cut into so many parts of about equal size; rows of one group are in one part.

    Args:
        groups: [N] int64; fewer groups than parts make as many parts as there are groups: none of no rows.
        most: rows at most, of all parts together; the others are left out.
    """
    if groups is None:
        return list(torch.from_numpy(random.permutation(num_rows))[:most].chunk(parts))
    if not len(groups):
        return []
    present, index = groups.cpu().unique(return_inverse=True)
    place = torch.from_numpy(random.permutation(len(present)))[index]  # of each row's group in the order
    order = place.argsort(stable=True)[:most]
    place = place[order]
    part = place * parts // (int(place[-1]) + 1)
    return [order[part == number] for number in part.unique()]
