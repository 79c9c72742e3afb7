"""Tables in JSON: an object per line, or one list of objects. Of lines only the places are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reclaim.core.errors import BadInput
from reclaim.core.files import existing, part_of
from reclaim.core.records import parse_json, read_json
from reclaim.core.tables import as_column

__all__ = ["JsonLines", "JsonList", "open_json_lines", "open_json_list"]

Row = Mapping[str, Any]


class JsonLines:
    """A table with an object in each line; a key that a row lacks is a value that is missing.

    Attributes:
        path: the file.
        columns: the keys of all rows, as they appear.
        places: [N, 2], where each line begins and ends, in bytes.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], places: np.ndarray[Any, Any]) -> None:
        self.path, self.columns, self.places = path, columns, places

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """All values of a column [N]."""
        return as_column([self.value(row, name) for row in range(len(self))])

    def value(self, row: int, name: str) -> Any:
        """One value; None if it is missing."""
        begin, end = map(int, self.places[row])
        return _object(parse_json(part_of(self.path, begin, end), self.called(row)), self.called(row)).get(name)

    def class_names(self, name: str) -> tuple[str, ...]:
        """None: JSON gives numbers no names."""
        return ()

    def numbers(self, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """Columns of numbers [N, len(names)], or [N, length] of one column of lists."""
        return _numbers(self, names)

    def called(self, row: int) -> str:
        """What to call a row in a message."""
        return f"{self.path.name}, row {row}"


class JsonList:
    """A table that is one list of objects, held in memory.

    Attributes:
        path: the file.
        columns: the keys of all rows, as they appear.
        rows: the objects.
    """

    def __init__(self, path: Path, rows: list[Row]) -> None:
        self.path, self.rows = path, rows
        self.columns = tuple(dict.fromkeys(key for row in rows for key in row))

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """All values of a column [N]."""
        return as_column([row.get(name) for row in self.rows])

    def value(self, row: int, name: str) -> Any:
        """One value; None if it is missing."""
        return self.rows[row].get(name)

    def class_names(self, name: str) -> tuple[str, ...]:
        """None: JSON gives numbers no names."""
        return ()

    def numbers(self, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """Columns of numbers [N, len(names)], or [N, length] of one column of lists."""
        return _numbers(self, names)

    def called(self, row: int) -> str:
        """What to call a row in a message."""
        return f"{self.path.name}, row {row}"


def open_json_lines(path: Path) -> JsonLines:
    """Open a table of JSON lines. Every line is read once, for its keys.

    Raises: BadInput, with the row, for a line that is no object.
    """
    places: list[tuple[int, int]] = []
    columns: dict[str, None] = {}
    at = 0
    with existing(path).open("rb") as file:
        for line in file:
            if line.strip():
                what = f"{path}, row {len(places)}"
                columns.update(dict.fromkeys(_object(parse_json(line, what), what)))
                places.append((at, at + len(line)))
            at += len(line)
    return JsonLines(path, tuple(columns), np.array(places, dtype=np.int64).reshape(-1, 2))


def open_json_list(path: Path) -> JsonList:
    """Open a table that is one JSON list of objects.

    Raises: BadInput if it is something else.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise BadInput(f"{path} is no list of rows; a table in JSON is a list of objects, or an object per line.")
    return JsonList(path, [_object(row, f"{path}, row {number}") for number, row in enumerate(rows)])


def _object(value: Any, what: str) -> Row:
    if not isinstance(value, dict):
        raise BadInput(f'{what} is no object, but {type(value).__name__}; a row is {{"COLUMN": VALUE, …}}.')
    return value


def _numbers(table: JsonLines | JsonList, names: Sequence[str]) -> np.ndarray[Any, Any]:
    columns = [table.column(name) for name in names]
    if len(columns) == 1 and columns[0].dtype == object:
        rows = columns[0].tolist()
    else:
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
    length = len(rows[0]) if rows and isinstance(rows[0], list | tuple) else -1
    for row, values in enumerate(rows):
        fits = isinstance(values, list | tuple) and len(values) == length
        if not fits or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
            raise BadInput(f"{table.called(row)}: {length if length >= 0 else 'a list of'} numbers were expected.")
    return np.array(rows, dtype=np.float64).reshape(len(rows), max(length, 0))
