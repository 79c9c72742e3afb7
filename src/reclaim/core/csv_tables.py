"""Tables in text: CSV, TSV and the like. Only the place of each row is kept, and a row is read when it is asked for."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from reclaim.core.errors import BadInput, few
from reclaim.core.files import existing, part_of

__all__ = ["CsvTable", "is_number", "open_csv"]

DELIMITERS = ",\t;|"
LONGEST = 1 << 30  # of one value; Python's own limit is 131,072


class CsvTable:
    """A table in text, of which every value is a text, as it stands there.

    Attributes:
        path: the file.
        columns: what its first line names, or 0, 1, … without such a line.
        header: whether there is one.
        delimiter: what stands between values.
        places: [N + 1], where each row begins, in bytes.
    """

    def __init__(
        self, path: Path, columns: tuple[str, ...], header: bool, delimiter: str, places: np.ndarray[Any, Any]
    ) -> None:
        self.path, self.columns, self.header = path, columns, header
        self.delimiter, self.places = delimiter, places

    def __len__(self) -> int:
        return len(self.places) - 1

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """All texts of a column [N], as objects."""
        where = self.columns.index(name)
        found = np.empty(len(self), dtype=object)
        with self.path.open("rb") as file:
            file.seek(int(self.places[0]))
            for row, (_, values) in enumerate(_rows(file, self.path, self.delimiter, int(self.places[0]))):
                found[row] = values[where]
        return found

    def value(self, row: int, name: str) -> str:
        """One text."""
        begin, end = int(self.places[row]), int(self.places[row + 1])
        raw = part_of(self.path, begin, end)
        _, values = next(_rows(raw.splitlines(keepends=True), self.path, self.delimiter, begin))
        return values[self.columns.index(name)]

    def class_names(self, name: str) -> tuple[str, ...]:
        """None: text gives numbers no names."""
        return ()

    def numbers(self, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """Columns of numbers [N, len(names)] float64.

        Raises: BadInput, with row and column, for what is no number.
        """
        where = [self.columns.index(name) for name in names]
        found = np.empty((len(self), len(names)))
        with self.path.open("rb") as file:
            file.seek(int(self.places[0]))
            for row, (_, values) in enumerate(_rows(file, self.path, self.delimiter, int(self.places[0]))):
                try:
                    found[row] = [float(values[column]) for column in where]
                except ValueError as error:
                    wrong = next(column for column in where if not is_number(values[column]))
                    raise BadInput(
                        f"{self.called(row)}, column {self.columns[wrong]!r}: {values[wrong]:.40} is no number."
                    ) from error
        return found

    def called(self, row: int) -> str:
        """What to call a row in a message."""
        return f"{self.path.name}, row {row}"


def open_csv(path: Path, *, header: bool = True) -> CsvTable:
    """Open a table in UTF-8, with or without a byte order mark; what parts values is told by its first line.

    Raises: BadInput for another encoding, rows of another length than the first, or a first line that names a column
        twice.
    """
    with existing(path).open("rb") as file:
        first = file.readline()
        start = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise BadInput(f"{path} is in UTF-16. Save it as UTF-8.")
        if b"\r" in first.rstrip(b"\r\n"):
            raise BadInput(f"{path} ends its lines by carriage returns alone. Save it with line feeds.")
        delimiter = _delimiter(_decoded(first[start:], path, start))
        file.seek(start)
        rows, places = _rows(file, path, delimiter, start), []
        names: list[str] | None = None
        for place, values in rows:
            names = values if names is None else names
            places.append(place)
            if len(values) != len(names):
                raise BadInput(
                    f"{path}, row {len(places) - 1 - header}: it has {len(values)} values, and the first line has "
                    f"{len(names)}. A value that holds {delimiter!r} needs quotes."
                )
        if names is None:
            raise BadInput(f"{path} is empty.")
        end = file.tell()
    columns = tuple(name.strip() for name in names) if header else tuple(map(str, range(len(names))))
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise BadInput(f"the first line of {path} names columns twice: {few(twice)}.")
    return CsvTable(path, columns, header, delimiter, np.array([*places[header:], end], dtype=np.int64))


def _delimiter(line: str) -> str:
    """What stands most often outside quotes; a comma if nothing does."""
    outside = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _rows(lines: Iterable[bytes], path: Path, delimiter: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """Each row, and where it begins in the file, for lines from `start` on. Blank lines are no rows."""
    at = start
    begin = start

    def texts() -> Iterator[str]:
        nonlocal at
        for line in lines:
            text = _decoded(line, path, at)
            at += len(line)
            yield text

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    before = csv.field_size_limit()
    for number in count():
        csv.field_size_limit(LONGEST)
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadInput(f"{path}, line {reader.line_num} (row {number}) is no row of a table: {error}.") from error
        finally:
            csv.field_size_limit(before)
        if values:
            yield begin, values
        begin = at


def _decoded(line: bytes, path: Path, at: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path} is not in UTF-8: the byte 0x{line[error.start]:02x} at {at + error.start} is none of it.\n"
            "  It may be in an encoding of Windows, as cp1252. Save it as UTF-8."
        ) from error


def is_number(text: str) -> bool:
    """Whether a text is a number, as Python reads one."""
    try:
        float(text)
    except ValueError:
        return False
    return True
