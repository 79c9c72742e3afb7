"""Opening what a user names as data."""

from __future__ import annotations

from pathlib import Path

import torch

from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.data.records import Data, Split

__all__ = ["drop_unreadable", "load_data"]


def load_data(source: str) -> Data:
    """Open the data that `source` names: a folder of class folders, an ``.npz`` or Parquet file, or ``digits``.

    Raises: BadInput if there is nothing usable.
    """
    path = Path(source)
    if path.is_dir():
        return find("data", "folder")(source)
    if path.suffix in (".npz", ".parquet"):
        return find("data", "table")(source)
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
