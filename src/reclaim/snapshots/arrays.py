"""Logits from elsewhere, in arrays or tables, and what must be told of them: labels, and which classes were seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import as_tensor
from reclaim.core.csv_tables import CsvTable, is_number
from reclaim.core.errors import Argument, BadInput, few, meant, within
from reclaim.core.files import existing
from reclaim.core.joining import unnamed
from reclaim.core.kinds import TABLES, Kind, kind_of_file
from reclaim.core.name_lists import names_in
from reclaim.core.npz import load_npy, load_npz
from reclaim.core.tables import Table, open_table
from reclaim.core.torch_files import read_torch
from reclaim.snapshots.snapshot import seen_mask

__all__ = ["Told", "read_arrays", "say_if_from_one", "told_labels", "told_seen"]

log = logging.getLogger(__name__)

LOGITS, LABELS, GROUPS = ("logits",), ("label", "labels", "target", "targets", "y"), ("groups", "group")
BESIDE = ("", "index", "id", "row", "split", "name", "file", "file_name", "filename", "path", "text", "unnamed: 0")
_TENSORS = "Save tensors alone: torch.save({'logits': logits, 'labels': labels}, path)."


@dataclass(frozen=True)
class Told:
    """What is told of logits whose file does not say it.

    Attributes:
        labels: a file with one label per row: numbers of columns, or names of classes.
        seen: the seen classes: a file with one per line, names joined by commas, or a file of an array.
        all_classes: every class is seen.
        classes: a file that names the columns, one per line, in order.
        if_missing: what the file says itself stands, as where several files are told the same; else it is an error.
    """

    labels: Path | None = None
    seen: str | None = None
    all_classes: bool = False
    classes: Path | None = None
    if_missing: bool = False

    def __post_init__(self) -> None:
        if self.seen is not None and self.all_classes:
            raise BadInput(
                "which classes are seen is told twice.",
                Argument("seen", "give one of the two"),
                Argument("all_classes"),
            )

    def without(self, *, labels: bool, seen: bool, classes: bool, path: Path) -> Told:
        """What is left to be told of a file that says some of it itself.

        Raises: BadInput if it is told what it says, unless that may be.
        """
        twice = {
            "labels": labels and self.labels is not None,
            "seen": seen and self.seen is not None,
            "classes": classes and self.classes is not None,
        }
        for argument in (name for name, both in twice.items() if both and not self.if_missing):
            raise BadInput(f"{path} says its {argument} itself.", Argument(argument, "leave out"))
        return replace(
            self,
            labels=None if labels else self.labels,
            seen=None if seen else self.seen,
            classes=None if classes else self.classes,
        )


def read_arrays(path: Path, kind: Kind) -> dict[str, Any]:
    """What a file of arrays or a table holds, by the names that a snapshot has for it; `logits` is among them.

    Raises: BadInput if it holds no logits, or cannot be read.
    """
    if kind == "npy":
        return {"logits": load_npy(path)}
    if kind == "torch":
        return _from_torch(path)
    if kind == "npz":
        return load_npz(path)
    return _from_table(path, kind)


def told_labels(path: Path, classes: Sequence[str], seen: Tensor) -> Tensor:
    """Labels [N] int64 from a file: an array, a table with a column of labels, or a line each.

    Texts that are names of classes are those; other whole numbers in text are numbers of columns.

    Raises: BadInput for a label that is neither.
    """
    values = _one_column(path, LABELS)
    if isinstance(values, Tensor) or values.dtype != object:
        return say_if_from_one(as_tensor(values), seen, path)
    texts = ["" if one is None else str(one).strip() for one in values.tolist()]
    place = {name: column for column, name in enumerate(classes)}
    if not unnamed(classes) and all(text in place for text in texts):
        return torch.tensor([place[text] for text in texts], dtype=torch.int64)
    if all(text.isascii() and text.isdigit() for text in texts):
        return say_if_from_one(torch.tensor([int(text) for text in texts], dtype=torch.int64), seen, path)
    missing = sorted({text for text in texts if text not in place})
    raise BadInput(
        f"{path}: labels that are none of the {len(place)} classes: {few(map(repr, missing))}; the classes are: "
        f"{few(classes)}.{meant(missing, classes)}",
        Argument("classes", "name the columns, in order"),
    )


def say_if_from_one(labels: Tensor, seen: Tensor, path: Path) -> Tensor:
    """Labels [N] as they are; it is said if they may count from 1: none is 0, a column that is seen [C]."""
    if len(labels) and len(seen) and int(labels.min()) == 1 and bool(seen[0]):
        log.warning(
            "the labels of %s begin with 1, so that no row is of column 0; if they count from 1, take 1 from each.",
            path,
        )
    return labels


def told_seen(given: str, classes: Sequence[str]) -> Tensor:
    """[C] bool from names joined by commas, a file of them, or an array of bools or indices in a file.

    Raises: BadInput for a name that is none of the classes.
    """
    path = Path(given)
    if path.is_file() and kind_of_file(path) in ("npy", "torch"):
        array = _one_column(path, ("seen",))
        mask = as_tensor(array)
        return mask if mask.dtype == torch.bool else seen_mask(mask, len(classes))
    names = names_in(path) if path.is_file() else [name.strip() for name in given.split(",")]
    if missing := [name for name in names if name not in classes]:
        raise BadInput(
            f"seen classes that the logits do not have: {few(missing)}; they have: {few(classes)}."
            f"{meant(missing, classes)}",
            Argument("classes", "name the columns, in order"),
        )
    return torch.tensor([name in set(names) for name in classes])


def _from_torch(path: Path) -> dict[str, Any]:
    found = read_torch(path, _TENSORS)
    if isinstance(found, Tensor):
        return {"logits": found}
    if not isinstance(found, Mapping) or not isinstance(found.get("logits"), Tensor):
        what = few(found) if isinstance(found, Mapping) else type(found).__name__
        raise BadInput(f"{path} holds no logits: a tensor, or a mapping with 'logits', was expected; it holds {what}.")
    return {str(name): value for name, value in found.items() if value is not None}


def _from_table(path: Path, kind: Kind) -> dict[str, Any]:
    """Logits in a column of lists, or in a column for each class, which it names."""
    table = _table(path, kind)
    named = {name.casefold(): name for name in table.columns}
    found: dict[str, Any] = {}
    if logits := _named(named, LOGITS):
        found["logits"] = table.numbers([logits])
    else:
        other = {*LABELS, *GROUPS, *BESIDE} if _has_header(table) else set()
        columns = [name for name in table.columns if name.casefold() not in other]
        if not columns:
            raise BadInput(f"{path} has no columns of logits; it has: {few(table.columns)}.")
        found["logits"] = table.numbers(columns)
        if _has_header(table):
            found["classes"] = np.array(columns)
    if _has_header(table):
        for name, known in (("labels", LABELS), ("groups", GROUPS)):
            if column := _named(named, known):
                values = table.column(column)
                found[name] = values.astype(str) if values.dtype == object else values
    return found


def _table(path: Path, kind: Kind) -> Table:
    """The table; the first line of one in text is a row if it is numbers, other than 0, 1, 2, … in order."""
    if kind != "text":
        return open_table(path, kind)
    table = open_table(path, kind)
    numbers = all(is_number(name) for name in table.columns)
    counted = list(table.columns) == [str(column) for column in range(len(table.columns))]
    return open_table(path, kind, header=False) if numbers and not (counted and len(table.columns) > 1) else table


def _has_header(table: Table) -> bool:
    return not isinstance(table, CsvTable) or table.header


def _one_column(path: Path, known: Sequence[str]) -> Any:
    """One value per row, from an array, or from the only column of a table, or that of a known name."""
    kind = kind_of_file(existing(path))
    if kind == "npy":
        return load_npy(path)
    if kind == "torch":
        found = read_torch(path, "Save a tensor alone: torch.save(labels, path).")
        if not isinstance(found, Tensor):
            raise BadInput(f"{path} holds {type(found).__name__}; a tensor was expected.")
        return found
    if kind not in TABLES:
        raise BadInput(f"{path} is neither an array (.npy, .pt) nor a table (CSV, JSON lines, Parquet).")
    table = open_table(path, kind)
    column = _named({name.casefold(): name for name in table.columns}, known)
    if column is None and len(table.columns) == 1 and kind == "text":
        table = open_table(path, kind, header=False)
    if column is None and len(table.columns) != 1:
        raise BadInput(f"{path} has no column called {few(known, 9)}; it has: {few(table.columns)}.")
    with within(path):
        return table.column(column or table.columns[0])


def _named(columns: Mapping[str, str], known: Sequence[str]) -> str | None:
    return next((columns[name] for name in known if name in columns), None)
