"""Tables that `datasets` holds: memory-mapped, so that rows are read from the disk where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.core.parquet import as_array
from reclaim.core.tables import Table
from reclaim.data.splits import one_name_each, split_called

__all__ = ["DatasetTable", "tables_of"]


class DatasetTable:
    """A split of `datasets` as a table.

    Attributes:
        path: where it lies.
        rows: the `datasets.Dataset`; images in it are not decoded.
        split: its name.
    """

    def __init__(self, rows: Any, path: Path, split: str) -> None:
        datasets = require("datasets", extra="data")
        for name, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(name, datasets.Image(decode=False))
        self.rows, self.path, self.split = rows, path, split
        self.columns = tuple(map(str, rows.column_names))

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """All values of a column [N]."""
        return as_array(self.rows.with_format("arrow")[:][name])

    def value(self, row: int, name: str) -> Any:
        """One value."""
        return self.rows[row][name]

    def class_names(self, name: str) -> tuple[str, ...]:
        """The names of a `ClassLabel`."""
        feature = self.rows.features.get(name)
        return tuple(feature.names) if isinstance(feature, require("datasets", extra="data").ClassLabel) else ()

    def numbers(self, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """Columns of numbers [N, len(names)]."""
        return np.stack([self.column(name) for name in names], axis=1)

    def called(self, row: int) -> str:
        """What to call a row in a message."""
        return f"{self.path.name}, {self.split}, row {row}"


def tables_of(loaded: Any, path: Path) -> dict[str, Table]:
    """The splits of what `datasets` loaded, by the names that splits have here.

    Raises: BadInput if it has none, or two names for one.
    """
    datasets = require("datasets", extra="data")
    splits: Mapping[str, Any] = loaded if isinstance(loaded, datasets.DatasetDict) else {"all": loaded}
    if not splits:
        raise BadInput(f"{path} has no splits.")
    names = list(map(str, splits))
    one_name_each(names, f"{path}")
    return {split_called(name) or name: DatasetTable(splits[name], path, name) for name in names}
