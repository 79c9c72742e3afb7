"""What snapshots must hold, checked where it comes in; the wording of the errors is in `reclaim.core.errors`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import as_tensor, row_blocks
from reclaim.core.compat import is_traced
from reclaim.core.errors import Argument, BadInput, BadKind, few, meant

__all__ = [
    "as_labels",
    "check_classes",
    "check_features",
    "check_finite",
    "check_groups",
    "check_kind",
    "check_labels",
    "check_logits",
    "check_no_mask",
    "check_same_classes",
    "check_seen",
    "holds_probabilities",
]

_SAMPLE = 256  # rows at fixed strides that tell what a matrix is
_FEW = 8  # rows below which every one must look like probabilities, to the precision of their type
_ROUNDING = {torch.float16: 1e-3, torch.bfloat16: 4e-3}  # of a row's sum, where its numbers are rounded to the type


def check_logits(logits: Tensor, first_row: int = 0) -> None:
    """Raise unless `logits` [N, C] are finite real numbers, and logits: log-probabilities are, probabilities are not.

    Everything that takes logits comes through here: a snapshot when it is made, metrics and fits of arrays, and what a
    network answers. Rows are counted from `first_row`.
    """
    check_finite(logits, first_row)
    check_kind(logits, most=_SAMPLE)


def check_kind(logits: Tensor, most: int = 16) -> None:
    """Raise if `logits` [N, C] are probabilities, as `most` rows tell. In a graph that is traced, nothing is known."""
    if not is_traced(logits) and holds_probabilities(logits, most):
        raise BadInput(
            "these logits are probabilities: every row is non-negative and sums to one.",
            Argument("logits", "give the network's raw outputs, or the logarithm of the probabilities"),
        )


def holds_probabilities(logits: Tensor, most: int = _SAMPLE) -> bool:
    """Whether rows [N, C] are probabilities, as fractions or, of eight and more, in per cent; zeros may be between.

    Rows at fixed strides tell. Half of them, of those that are not all zero, must be non-negative and sum to one; of
    fewer than eight rows all must, to the precision of their type. Logits that are never negative, as behind a ReLU,
    sum to one by chance only: less than one row in a thousand does.
    """
    if len(logits) == 0 or logits.shape[1] < 2:
        return False
    rows = logits[:: -(-len(logits) // most)]
    least, share = rows.amin(dim=1), 1.0 if len(rows) < _FEW else 0.5
    if int((least >= -1e-6).sum()) < share * len(rows):
        return False  # most logits end here
    sums = rows.double().sum(dim=1)
    precision = _ROUNDING.get(rows.dtype, 1e-4)
    tolerance = precision if len(rows) < _FEW else max(1e-3, 5 * precision)
    near = (sums - 1).abs() <= tolerance
    if len(rows) >= _FEW:
        near |= (sums / 100 - 1).abs() <= tolerance
    filled = (rows != 0).any(dim=1)
    likely = filled & near & (least >= -1e-6)
    return bool(filled.any()) and int(likely.sum()) >= share * int(filled.sum())


def check_finite(logits: Tensor, first_row: int = 0) -> None:
    """Raise if `logits` [N, C] are not real numbers, in one pass without a copy. Rows are counted from `first_row`."""
    if logits.ndim != 2:
        raise BadInput(f"logits must be [rows, classes]; the shape given is {list(logits.shape)}.")
    if not logits.is_floating_point():
        raise BadKind(f"logits must be floating point; their type is {logits.dtype}. Give the network's raw outputs.")
    _check_finite(logits, first_row, "logits", "logit")


def check_features(features: Tensor) -> None:
    """Raise if `features` [N, D] are not finite real numbers."""
    if not features.is_floating_point():
        raise BadKind(f"features must be floating point; their type is {features.dtype}.")
    _check_finite(features, 0, "features", "feature")


def _check_finite(logits: Tensor, first_row: int, what: str, one: str) -> None:
    for block in row_blocks(logits):
        rows = logits[block]
        if torch.isfinite(rows.sum(dtype=torch.float32)):
            continue  # a sum is finite only if every term is; the reverse is settled below
        bad = (~torch.isfinite(rows)).any(dim=1).nonzero()
        if len(bad):
            row = int(bad[0])
            column = int((~torch.isfinite(rows[row])).nonzero()[0])
            raise BadInput(
                f"{what} hold {rows[row, column].item()} in row {first_row + block.start + row}, column {column}.\n"
                f"  Every {one} must be a finite number. Was the model trained to divergence, or run in half precision?"
            )


def as_labels(labels: object, classes: Sequence[str] = ()) -> Tensor:
    """Labels [N] as a tensor: class indices as they are, names as their positions in `classes`.

    Raises: BadInput for a name that is not among them, or names where there are no classes.
    """
    if isinstance(labels, Tensor) or (isinstance(labels, np.ndarray) and labels.dtype.kind not in "USO"):
        return as_tensor(labels)
    array = np.asarray(labels)
    if array.dtype.kind not in "US" and not (array.size and all(isinstance(label, str) for label in array.flat)):
        return as_tensor(labels)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    found, index = np.unique(array.astype(str), return_inverse=True)
    names = [str(name) for name in found]
    if not classes:
        raise BadInput(
            f"labels are names ({few(names)}), and the classes are not named.",
            Argument("classes", "name the columns, in order, or give the labels as class indices"),
        )
    place = {name: column for column, name in enumerate(classes)}
    if missing := [name for name in names if name not in place]:
        raise BadInput(
            f"labels that are none of the {len(place)} classes: {few(missing)}; the classes are: {few(classes)}."
            f"{meant(missing, classes)}"
        )
    return torch.tensor([place[name] for name in names], dtype=torch.int64)[
        torch.from_numpy(index.reshape(array.shape))
    ]


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
        from_one = int(labels.min()) == 1 and int(labels.max()) == num_classes
        raise BadInput(
            f"label {int(labels[row])} in row {row} is out of range: the logits have {num_classes} columns, "
            f"so labels run from 0 to {num_classes - 1}."
            + ("\n  These count from 1: take 1 from each." if from_one else "")
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


def check_no_mask(indices: Sequence[int], num_classes: int) -> None:
    """Raise for indices of seen classes that may as well be a mask: 0 and 1, one for each of two classes."""
    if len(indices) == num_classes == 2 and set(indices) == {0, 1}:
        raise BadInput(
            f"seen classes of two are given as {list(indices)}: are these their indices, or is it one number per class?"
            "\n  A mask is bool: [True, False] has the first one only; of indices, give one, or names."
        )


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
            f"  Classes are matched by name, and here both must have the same. Where the head was replaced for the\n"
            f"  fine-tuning, `repair` of the two models, with data, joins their heads by name.{meant(a - b, b - a)}"
        )
