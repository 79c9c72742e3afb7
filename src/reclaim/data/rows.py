"""From tables to data: rows of every split, joined over one list of classes, whatever kind of file they lie in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.errors import Argument, BadInput, within
from reclaim.core.tables import Table
from reclaim.data.columns import groups_of, labels_and_classes, shared_groups, splits_of
from reclaim.data.guesses import Columns, Found, columns_in
from reclaim.data.inputs.decoding import decode
from reclaim.data.noticed import Noticed
from reclaim.data.records import Data, Split
from reclaim.data.report import LeftOut, Report, counts_of

__all__ = ["data_of_tables", "examples_in", "seen_in"]

UNLABELLED = -1  # what `datasets` writes where labels are withheld


def data_of_tables(
    tables: Mapping[str, Table],
    source: str,
    wanted: Columns,
    *,
    labelled: bool = True,
    files: Mapping[str, Sequence[str]] | None = None,
    left_out: Sequence[LeftOut] = (),
) -> Data:
    """The rows of tables as data.

    Args:
        tables: of each split; one called "all" may have a column `split`.
        labelled: whether labels are read; without them every row is of one class that stands for none.
        files: the files of each split, for the report.
        left_out: what of the source is no such table.

    Raises: BadInput if a column is missing, a row has no label, or nothing is left.
    """
    found = {split: columns_in(table.columns, wanted, table.path, labelled=False) for split, table in tables.items()}
    kept, more = _with_labels(tables, found, wanted) if labelled else (dict(tables), [])
    values = {split: _labels(kept[split], found[split].label if labelled else None) for split in kept}
    names = {kept[split].class_names(found[split].label or "") for split in kept} if labelled else {()}
    if len(names) > 1:  # the same number means another class: names join
        values = {split: _by_name(values[split], kept[split].class_names(found[split].label or "")) for split in kept}
        names = {tuple(dict.fromkeys(name for of in sorted(names) for name in of))}
    every = _joined(list(values.values()))
    if not len(every):
        raise BadInput(f"{source} has no rows.")
    with within(Path(source)):
        labels, classes = labels_and_classes(every, names.pop(), Path(source))
    noticed = Noticed(len(labels)) if any(one.kind == "image" for one in found.values()) else None
    splits: dict[str, Split] = {}
    first = 0
    for split, table in kept.items():
        read = examples_in(table, found[split], noticed, first)
        groups, group_names = groups_of(_Lazily(table), wanted.group, len(table), table.path)
        splits[split] = Split(labels[first : first + len(table)], read, table.called, groups, group_names)
        first += len(table)
    if list(splits) == ["all"] and "split" in kept["all"].columns:
        splits = splits_of(splits["all"], kept["all"].column("split"), kept["all"].path)
    notes = tuple(dict.fromkeys(note for one in found.values() for note in one.notes)) if labelled else ()
    report = Report(
        rows=counts_of({name: split.labels for name, split in splits.items()}, classes),
        left_out=(*left_out, *more),
        notes=notes + shared_groups(splits),
        files=files or {},
    )
    return Data(classes, splits, seen_in(splits, classes), source, report, noticed)


def examples_in(table: Table, found: Found, noticed: Noticed | None, first: int = 0) -> Callable[[int], Any]:
    """What reads example i of a table; what is noticed of it is counted from row `first`."""
    if found.kind == "text":
        return partial(_text, table, found.example)
    folder = table.path if table.path.is_dir() else table.path.parent
    return partial(_image, table, found.example, folder, noticed, first)


def seen_in(splits: Mapping[str, Split], classes: tuple[str, ...]) -> Tensor:
    """The classes of the training split [C]; all of them without one."""
    if "train" not in splits:
        return torch.ones(len(classes), dtype=torch.bool)
    return torch.bincount(splits["train"].labels, minlength=len(classes)) > 0


def _text(table: Table, column: str, i: int) -> str:
    text = table.value(i, column)
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if not isinstance(text, str) or not text.strip():
        raise BadInput(f"{table.called(i)} has no text in {column!r}.", *_LEAVE_OUT)
    return text


def _image(table: Table, column: str, folder: Path, noticed: Noticed | None, first: int, i: int) -> Any:
    value, name = table.value(i, column), table.called(i)
    path = None
    if isinstance(value, dict):  # as `datasets` writes it
        path, value = value.get("path"), value.get("bytes") or value.get("path")
    if not value or not isinstance(value, str | bytes):
        raise BadInput(f"{name} has no image in {column!r}.", *_LEAVE_OUT)
    if isinstance(value, str):
        if "://" in value:
            raise BadInput(f"{name}: {value} is an address, and nothing is fetched. Give files.", *_LEAVE_OUT)
        name = f"{name} ({path or value})"
        value = folder / value
    return decode(value, name, None if noticed is None else partial(noticed.mark, first + i, name=name))


_LEAVE_OUT = (Argument("skip_bad", "remove or complete it, or leave such examples out and have them listed", True),)


class _Lazily(Mapping[str, Any]):
    """Columns by name, which are read when they are asked for."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __getitem__(self, name: str) -> Any:
        return self.table.column(name)

    def __contains__(self, name: object) -> bool:
        return name in self.table.columns

    def __iter__(self) -> Any:
        return iter(self.table.columns)

    def __len__(self) -> int:
        return len(self.table.columns)


def _with_labels(
    tables: Mapping[str, Table], found: Mapping[str, Found], wanted: Columns
) -> tuple[dict[str, Table], list[LeftOut]]:
    """The splits that have labels, and those that have none, as test sets whose labels are withheld.

    Raises: BadInput if none has any.
    """
    kept, without = {}, []
    for split, table in tables.items():
        label = found[split].label
        values = None if label is None or not len(table) else table.column(label)
        if label is None or (values is not None and values.dtype.kind in "if" and bool((values == UNLABELLED).all())):
            without.append(split)
        else:
            kept[split] = table
    if not kept:
        split, table = next(iter(tables.items()))
        columns_in(table.columns, wanted, table.path)  # says what is missing
        raise BadInput(f"{table.path}: every label is {UNLABELLED}, which stands for none.")
    return kept, [LeftOut.of("splits without labels", without)] if without else []


def _labels(table: Table, label: str | None) -> np.ndarray[Any, Any]:
    if label is None:
        return np.zeros(len(table), dtype=np.int64)
    return table.column(label)


def _by_name(values: np.ndarray[Any, Any], names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Numbers as the names that stand for them; what is none stays, and is refused later."""
    if not names or values.dtype == object:
        return values
    return np.array([names[v] if 0 <= v < len(names) else str(v) for v in values.tolist()], dtype=object)


def _joined(parts: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    parts = [part for part in parts if len(part)] or list(parts)[:1]
    if len({part.dtype == object for part in parts}) > 1:
        raise BadInput("the labels are numbers in one split and names in another; give all of them the same kind.")
    return np.concatenate(parts)
