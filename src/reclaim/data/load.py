"""Opening what a user names as data."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from reclaim.core.errors import BadInput, few, within
from reclaim.core.registry import find, names
from reclaim.data.records import Data, Split

__all__ = ["drop_unreadable", "load_data", "without_unreadable"]


def load_data(source: str, *, skip_bad: bool = False) -> Data:
    """Open the data that `source` names: a folder of class folders, an ``.npz`` or Parquet file, or ``digits``.

    Args:
        skip_bad: leave out examples that cannot be read, with a warning that names them. Reads every example once.

    Raises: BadInput if there is nothing usable.
    """
    data = _opened(source)
    if skip_bad:
        data, bad = without_unreadable(data)
        if bad:
            warnings.warn(f"unreadable examples were left out: {few(bad)}.", stacklevel=2)
    return data


def without_unreadable(data: Data) -> tuple[Data, list[str]]:
    """The data without the examples that cannot be read, and their names; a split that has no other goes too."""
    kept = {name: drop_unreadable(split) for name, split in data.splits.items()}
    bad = [name for _, left_out in kept.values() for name in left_out]
    return replace(data, splits={name: split for name, (split, _) in kept.items() if len(split)}), bad


def _opened(source: str) -> Data:
    path = Path(source)
    if path.is_dir():
        return find("data", "folder")(source)
    if path.suffix in (".npz", ".parquet"):
        with within(path):
            data: Data = find("data", "table")(source)
            return data
    if source in ("digits", "digits-shifted"):
        return find("data", "digits")(source)
    raise BadInput(
        f"no data at {source!r}. Data are a folder of class folders (with or without train/, val/, test/), an .npz or "
        f"Parquet file with labels, 'digits' or 'digits-shifted'; kinds of source: {', '.join(names('data'))}."
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
