"""Columns of tables: what they must hold, whichever kind of file they come from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import as_tensor
from reclaim.core.checks import check_classes, check_labels
from reclaim.core.errors import Argument, BadInput, few
from reclaim.core.groups import members_of
from reclaim.data.records import Split
from reclaim.data.splits import check_alike, in_order, one_name_each, split_called

__all__ = ["check_column", "groups_of", "labels_and_classes", "shared_groups", "splits_of", "texts"]

log = logging.getLogger(__name__)

MOST_CLASSES = 1 << 20  # above that a number is no class


def check_column(values: Any, name: str, path: Path, num_rows: int | None = None) -> np.ndarray:
    """A column [N].

    Raises: BadInput for another shape.
    """
    array = np.asarray(values)
    if array.ndim != 1 or num_rows not in (None, len(array)):
        rows = "one value per row" if num_rows is None else f"one value for each of {num_rows} rows"
        raise BadInput(f"{path}: {name!r} must be {rows}; its shape is {list(array.shape)}.")
    return array


def texts(values: Any, name: str, path: Path, count: int | None = None) -> list[str]:
    """Texts as an array of strings, or as UTF-8 bytes joined by newlines.

    Raises: BadInput for another number of them, or bytes that are no text.
    """
    array = np.asarray(values)
    try:
        if array.dtype == np.uint8:
            found = array.tobytes().decode().split("\n")
        else:
            found = [one.decode() if isinstance(one, bytes) else str(one) for one in check_column(array, name, path)]
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: {name!r} is not UTF-8: {error}.") from error
    if count is not None and len(found) != count:
        raise BadInput(f"{path}: {name!r} holds {len(found)} texts, and there are {count} rows.")
    return found


def labels_and_classes(values: Any, names: Sequence[str], path: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Labels [N] int64 and the classes, from numbers, or from names of classes.

    Args:
        names: of the classes in the order of the numbers; empty if there are none. Then labels that are names are in
            alphabetical order, and numbers are their own names, from 0 to the largest; it is said if none is 0.

    Raises: BadInput if a row has no label, or one that is no class, or if names look alike.
    """
    array = check_column(values, "label", path)
    if array.dtype.kind in "OUS":
        return _by_name(array, names, path)
    if array.dtype.kind == "u" and len(array) and int(array.max()) < 1 << 62:
        array = array.astype(np.int64)  # torch knows hardly anything of unsigned numbers
    labels = as_tensor(array)
    if not names and array.dtype.kind in "iu" and len(array):
        if int(array.max()) >= MOST_CLASSES:
            raise BadInput(
                f"{path}: label {int(array.max())} in row {int(array.argmax())} would make that many classes.\n"
                "  Number the classes from 0, or give their names: `classes`."
            )
        if (least := int(array.min())) > 0:
            log.warning(
                "the labels of %s begin with %d and have no names: no row is of the classes before it.", path, least
            )
        names = [str(label) for label in range(int(array.max()) + 1)]
    classes = check_classes(names)
    check_alike({str(path): classes})
    return check_labels(labels, len(labels), len(classes)), classes


def _by_name(array: np.ndarray, names: Sequence[str], path: Path) -> tuple[Tensor, tuple[str, ...]]:
    _check_whole(array, "label", path)
    given = texts(array, "label", path)
    check_alike({str(path): tuple(dict.fromkeys((*names, *given)))})
    classes = check_classes(names) if names else in_order(given)
    index = {name: label for label, name in enumerate(classes)}
    if foreign := sorted({name for name in given if name not in index}):
        raise BadInput(f"{path}: labels that are none of the {len(classes)} classes: {few(foreign)}.")
    return torch.tensor([index[name] for name in given], dtype=torch.int64), classes


def _check_whole(array: np.ndarray, name: str, path: Path) -> None:
    """Raise if a value is missing: None, an empty text, or NaN."""
    missing = [row for row, one in enumerate(array.tolist()) if one is None or one in ("", b"") or one != one]
    if missing:
        raise BadInput(f"{path}: {len(missing)} rows have no value in {name!r}, the first of them row {missing[0]}.")


def groups_of(
    columns: Mapping[str, Any], wanted: str | None, num_rows: int, path: Path
) -> tuple[Tensor | None, tuple[str, ...]]:
    """The groups of the rows, [N], and their names: those of the column `wanted`, or `groups`, or none.

    Raises: BadInput if there is no such column, or a row has no group.
    """
    name = wanted or "groups"
    if name not in columns:
        if wanted is None:
            return None, ()
        raise BadInput(
            f"{path} has no column {wanted!r}; it has: {few(sorted(columns), 20)}.",
            Argument("group_column", "name one"),
        )
    array = check_column(columns[name], name, path, num_rows)
    _check_whole(array, name, path)
    if array.dtype.kind in "OUS":
        return members_of(np.array(texts(array, name, path)))
    return members_of(array.astype(np.int64) if array.dtype.kind == "u" else array)


def splits_of(whole: Split, values: Any, path: Path) -> dict[str, Split]:
    """The rows of each split; "all" where no column of splits is given.

    Raises: BadInput if a row has no split, or two names are one split.
    """
    if values is None:
        return {"all": whole}
    array = np.asarray(values)
    if array.dtype != np.uint8:  # which may be the bytes of names
        _check_whole(check_column(array, "split", path), "split", path)
    which = texts(array, "split", path, len(whole))
    _check_whole(np.array(which, dtype=object), "split", path)
    one_name_each(dict.fromkeys(which), f"the column 'split' of {path}")
    array = np.array(which)
    return {split_called(name) or name: whole.rows(torch.from_numpy(array == name)) for name in dict.fromkeys(which)}


def shared_groups(splits: Mapping[str, Split]) -> tuple[str, ...]:
    """What to say of groups that have rows in two splits, a sentence for each two."""
    said = []
    for (ours, one), (theirs, other) in combinations(splits.items(), 2):
        if one.groups is None or other.groups is None:
            continue
        both = sorted(set(one.groups.tolist()) & set(other.groups.tolist()))
        if both:
            named = [one.group_names[group] if one.group_names else group for group in both]
            said.append(f"{len(both)} groups have rows in {ours} and in {theirs} ({few(named, 3)})")
    return tuple(said)
