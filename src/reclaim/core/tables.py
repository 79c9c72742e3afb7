"""Tables in files: CSV, JSON lines and Parquet, told by their content. Values are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from reclaim.core.errors import BadInput, few
from reclaim.core.kinds import Kind, kind_of_file

__all__ = ["Stacked", "Table", "as_column", "open_table"]

Column: TypeAlias = np.ndarray[Any, Any]


class Table(Protocol):
    """Rows with columns by name, wherever they lie."""

    @property
    def path(self) -> Path:
        """The file, or the folder of several."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> Column:
        """All values of a column [N]: numbers, or objects (texts, None where a value is missing)."""

    def value(self, row: int, name: str) -> Any:
        """One value."""

    def class_names(self, name: str) -> tuple[str, ...]:
        """The names that the file gives to the numbers of a column, by number; empty if it gives none."""

    def numbers(self, names: Sequence[str]) -> Column:
        """Columns of numbers [N, len(names)] in floating point; of one column that holds lists, [N, length]."""

    def called(self, row: int) -> str:
        """What to call a row in a message."""


def open_table(path: Path, kind: Kind | None = None, *, header: bool = True) -> Table:
    """The table in a file.

    Args:
        kind: what the file holds, where that is known.
        header: whether the first line of a CSV names the columns.

    Raises: BadInput if it is none, or broken.
    """
    kind = kind or kind_of_file(path)
    if kind == "parquet":
        from reclaim.core.parquet import open_parquet

        return open_parquet(path)
    if kind == "json lines":
        from reclaim.core.json_lines import open_json_lines

        return open_json_lines(path)
    if kind == "json":
        from reclaim.core.json_lines import open_json_list

        return open_json_list(path)
    if kind == "text":
        from reclaim.core.csv_tables import open_csv

        return open_csv(path, header=header)
    what = {"packed": "is compressed; unpack it first", "tar": "is an archive (tar), and no table"}
    raise BadInput(f"{path} {what.get(kind, 'is no table')}. Tables are CSV, JSON lines or Parquet.")


def as_column(values: Sequence[Any]) -> Column:
    """Values of any kind as a column: an array of numbers where all are numbers, else of objects."""
    if values and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return np.array(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


class Stacked:
    """The rows of several tables, one after another. They are joined by the names of their columns."""

    def __init__(self, tables: Sequence[Table], path: Path) -> None:
        self.path, self.tables = path, list(tables)
        first = self.tables[0]
        for other in self.tables[1:]:
            if missing := sorted(set(first.columns) ^ set(other.columns)):
                raise BadInput(
                    f"{first.path} and {other.path} have other columns: only one of them has {few(missing)}."
                )
        self.columns = first.columns
        self.ends = np.cumsum([len(table) for table in self.tables])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def column(self, name: str) -> Column:
        """All values of a column [N]."""
        parts = [table.column(name) for table in self.tables]
        kinds = {part.dtype == object for part in parts if len(part)}
        return np.concatenate([part.astype(object) for part in parts] if len(kinds) > 1 else parts)

    def value(self, row: int, name: str) -> Any:
        """One value."""
        table, own = self._at(row)
        return table.value(own, name)

    def class_names(self, name: str) -> tuple[str, ...]:
        """The names of a column's numbers.

        Raises: BadInput if the files give them other ones.
        """
        given = {table.class_names(name): table.path for table in self.tables}
        if len(given) > 1:
            raise BadInput(
                f"the numbers of the column {name!r} have other names in {' than in '.join(map(str, given.values()))}."
            )
        return next(iter(given))

    def numbers(self, names: Sequence[str]) -> Column:
        """Columns of numbers [N, len(names)]."""
        return np.concatenate([table.numbers(names) for table in self.tables])

    def called(self, row: int) -> str:
        """What to call a row in a message."""
        table, own = self._at(row)
        return table.called(own)

    def _at(self, row: int) -> tuple[Table, int]:
        number = int(np.searchsorted(self.ends, row, side="right"))
        return self.tables[number], row - (int(self.ends[number - 1]) if number else 0)
