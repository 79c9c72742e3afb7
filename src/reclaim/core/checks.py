"""What snapshots must hold, checked where it comes in; the wording of the errors is in `reclaim.core.errors`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks
from reclaim.core.errors import BadInput, BadKind, few

__all__ = ["check_classes", "check_finite", "check_groups", "check_labels", "check_same_classes", "check_seen"]


def check_finite(logits: Tensor, first_row: int = 0) -> None:
    """Raise if `logits` [N, C] are not real numbers, in one pass without a copy. Rows are counted from `first_row`."""
    if logits.ndim != 2:
        raise BadInput(f"logits must be [rows, classes]; the shape given is {list(logits.shape)}.")
    if not logits.is_floating_point():
        raise BadKind(f"logits must be floating point; their type is {logits.dtype}. Give the network's raw outputs.")
    for block in row_blocks(logits):
        rows = logits[block]
        if torch.isfinite(rows.sum(dtype=torch.float32)):
            continue  # a sum is finite only if every term is; the reverse is settled below
        bad = (~torch.isfinite(rows)).any(dim=1).nonzero()
        if len(bad):
            row = int(bad[0])
            column = int((~torch.isfinite(rows[row])).nonzero()[0])
            raise BadInput(
                f"logits hold {rows[row, column].item()} in row {first_row + block.start + row}, column {column}.\n"
                "  Every logit must be a finite number. Was the model trained to divergence, or run in half precision?"
            )


def check_labels(labels: Tensor, num_rows: int, num_classes: int) -> Tensor:
    """`labels` [N] as int64, all of them in 0 … C-1."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise BadKind(
            f"labels must be whole numbers, one class index per row; their type is {labels.dtype}.\n"
            "  Convert them on purpose: labels.astype('int64')."
        )
    if labels.shape != (num_rows,):
        raise BadInput(f"labels have shape {list(labels.shape)}, but there are {num_rows} rows of logits.")
    if num_rows and not (int(labels.min()) >= 0 and int(labels.max()) < num_classes):
        row = int(((labels < 0) | (labels >= num_classes)).nonzero()[0])
        raise BadInput(
            f"label {int(labels[row])} in row {row} is out of range: the logits have {num_classes} columns, "
            f"so labels run from 0 to {num_classes - 1}."
        )
    return labels.to(torch.int64)


def check_seen(seen: Tensor, num_classes: int) -> Tensor:
    """`seen` as bool [C]."""
    if seen.dtype != torch.bool:
        raise BadKind(
            f"`seen` must be one bool per class; its type is {seen.dtype}.\n"
            f"  From class indices: seen_mask(indices, num_classes={num_classes})."
        )
    if seen.shape != (num_classes,):
        raise BadInput(
            f"`seen` has {seen.nelement()} entries but the logits have {num_classes} columns.\n"
            "  `seen` is one bool per class: True where the fine-tuning data had it.\n"
            f"  From class indices: seen_mask(indices, num_classes={num_classes})."
        )
    return seen


def check_groups(seen: Tensor) -> None:
    """Raise unless at least one class is seen and one absent: without two groups there is nothing to offset."""
    if not seen.any():
        raise BadInput("no class is marked as seen; mark those that the fine-tuning data had.")
    if seen.all():
        raise BadInput(
            f"no class is absent: all {len(seen)} are marked as seen, so there is nothing to bring back.\n"
            "  Mark as seen only the classes that the fine-tuning data had."
        )


def check_classes(classes: Sequence[str], num_classes: int | None = None) -> tuple[str, ...]:
    """Class names, one per output, each once."""
    names = tuple(str(name) for name in classes)
    if num_classes is not None and len(names) != num_classes:
        raise BadInput(f"{len(names)} class names were given for {num_classes} classes ({few(names)}).")
    if len(set(names)) != len(names):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        raise BadInput(f"class names must differ; given more than once: {few(twice)}.")
    return names


def check_same_classes(ours: Sequence[str], theirs: Sequence[str]) -> None:
    """Raise if a class is in one of the two lists only; their order does not matter."""
    a, b = set(ours), set(theirs)
    if a != b:
        raise BadInput(
            "the two models have different classes.\n"
            f"  only one has: {few(sorted(a - b)) or 'none'}\n"
            f"  only the other has: {few(sorted(b - a)) or 'none'}\n"
            "  Reclaim matches classes by name and needs the same ones in both."
        )
