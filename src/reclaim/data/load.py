"""Opening what a user names as data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from reclaim.core.errors import Argument, BadInput, few, within
from reclaim.core.registry import find
from reclaim.data.guesses import Columns
from reclaim.data.label_maps import with_label_map
from reclaim.data.places import kind_of_source
from reclaim.data.records import Data, Split
from reclaim.data.report import Report, counts_of

__all__ = ["drop_unreadable", "load_data", "open_source", "without_unreadable"]


def load_data(
    source: str,
    *,
    skip_bad: bool = False,
    image_column: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    label_map: Path | None = None,
) -> Data:
    """Open the data that `source` names: a folder of class folders, a table or a folder of tables, a folder that
    `datasets` saved, WebDataset tars, a hub's dataset, or ``digits``.

    What was left out is in the data's `report`; what may have been meant as examples, a warning says too.

    Args:
        skip_bad: leave out examples that cannot be read, with a warning that names them. Reads every example once.
        image_column, text_column, label_column: of a table; by default guessed from common names. An ``.npz`` calls
            its columns arrays, WebDataset suffixes.
        group_column: the column that says which rows belong together, such as a patient. By default `groups`, where
            there is one.
        label_map: a file that names the class of each label: a JSON object, or a table of two columns.

    Raises: BadInput if there is nothing usable.
    """
    data = open_source(source, Columns(image_column, text_column, label_column, group_column), label_map=label_map)
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


def open_source(
    source: str, columns: Columns = Columns(), *, label_map: Path | None = None, labelled: bool = True
) -> Data:
    """The data that `source` names, as `load_data` opens it, without a word.

    Args:
        labelled: whether labels are read of a table, which needs none otherwise.
    """
    kind = kind_of_source(source, columns_said=columns != Columns())
    if columns != Columns() and kind in ("folder", "digits"):
        _refuse_columns(source, columns)
    if kind in ("folder", "digits"):
        data: Data = find("data", kind)(source)
    else:
        with within(Path(source)):
            data = find("data", kind)(source, columns, labelled=labelled)
    if label_map is not None and labelled:
        data = with_label_map(data, label_map)
    return data if data.report else replace(data, report=Report(rows_of(data.splits, data.classes)))


def _refuse_columns(source: str, columns: Columns) -> None:
    """Raise for columns of what is no table."""
    said = {
        "image_column": columns.image,
        "text_column": columns.text,
        "label_column": columns.label,
        "group_column": columns.group,
    }
    argument, name = next((key, value) for key, value in said.items() if value is not None)
    raise BadInput(
        f"{source} is no table, and has no column {name!r}"
        + (" that could group its rows: a folder says nothing of patients or documents.\n" if columns.group else ".\n")
        + "  Bring the examples as a table with such a column.",
        Argument(argument, "leave out"),
    )


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
