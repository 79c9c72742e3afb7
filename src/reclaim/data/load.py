"""Opening what a user names as data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from reclaim.core.errors import Argument, BadInput, few, within
from reclaim.core.registry import find, names
from reclaim.data.records import Data, Split
from reclaim.data.report import Report, counts_of

__all__ = ["drop_unreadable", "load_data", "open_source", "without_unreadable"]


def load_data(source: str, *, skip_bad: bool = False, group_column: str | None = None) -> Data:
    """Open the data that `source` names: a folder of class folders, an ``.npz`` or Parquet file, or ``digits``.

    What was left out is in the data's `report`; what may have been meant as examples, a warning says too.

    Args:
        skip_bad: leave out examples that cannot be read, with a warning that names them. Reads every example once.
        group_column: the column of a table that says which rows belong together, such as a patient; an ``.npz`` calls
            its columns members. By default `groups`, where there is one.

    Raises: BadInput if there is nothing usable.
    """
    data = open_source(source, group_column)
    if data.report is not None and data.report.worth_a_word:
        warnings.warn(data.report.line(source), stacklevel=2)
    if skip_bad:
        data, bad = without_unreadable(data)
        if bad:
            warnings.warn(f"unreadable examples were left out: {few(bad)}.", stacklevel=2)
    return data


def without_unreadable(data: Data) -> tuple[Data, list[str]]:
    """The data without the examples that cannot be read, and their names; a split that has no other goes too."""
    kept = {name: drop_unreadable(split) for name, split in data.splits.items()}
    bad = [name for _, left_out in kept.values() for name in left_out]
    splits = {name: split for name, (split, _) in kept.items() if len(split)}
    report = data.report and data.report.without(bad, rows_of(splits, data.classes))
    return replace(data, splits=splits, report=report), bad


def rows_of(splits: Mapping[str, Split], classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """How many rows each class has in each split."""
    return counts_of({name: split.labels for name, split in splits.items()}, classes)


def open_source(source: str, group_column: str | None = None) -> Data:
    """The data that `source` names, as `load_data` opens it, without a word."""
    path = Path(source)
    table = not path.is_dir() and path.suffix in (".npz", ".parquet")
    if group_column is not None and not table:
        raise BadInput(
            f"{source} is no table, and has no column {group_column!r} that could group its rows: a folder says "
            "nothing of patients or documents.\n  Bring the examples as an .npz or Parquet file with such a column.",
            Argument("group_column", "leave out"),
        )
    if path.is_dir():
        data: Data = find("data", "folder")(source)
    elif table:
        with within(path):
            data = find("data", "table")(source, group_column)
    elif source in ("digits", "digits-shifted"):
        data = find("data", "digits")(source)
    else:
        raise BadInput(
            f"no data at {source!r}. Data are a folder of class folders (with or without train/, val/, test/), an "
            ".npz or Parquet file with labels, 'digits' or 'digits-shifted'; kinds of source: "
            f"{', '.join(names('data'))}."
        )
    return data if data.report else replace(data, report=Report(rows_of(data.splits, data.classes)))


def drop_unreadable(split: Split) -> tuple[Split, list[str]]:
    """The split without the examples that cannot be read, and their names. Reads every example once."""
    good, bad = [], []
    for i in range(len(split)):
        try:
            split.read(i)
            good.append(i)
        except BadInput:
            bad.append(split.name(i))
    return (split.rows(torch.tensor(good, dtype=torch.int64)), bad) if bad else (split, [])
