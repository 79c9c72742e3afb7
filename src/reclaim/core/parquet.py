"""Tables in Parquet files. A column of examples that does not fit in memory is read where it is used."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.core.files import existing
from reclaim.core.memory import free_memory
from reclaim.core.records import parse_json

__all__ = ["ParquetTable", "open_parquet"]

SHARE = 4  # a column may take one part in so many of the free memory


class ParquetTable:
    """A table in a Parquet file.

    Attributes:
        path: the file.
        columns: their names, nested ones by that of the whole.
        features: what `datasets` wrote down of each column.
        room: bytes that a column may take in memory; of a larger one the row groups read last are kept.
    """

    def __init__(self, path: Path, file: Any, room: int) -> None:
        self.path, self.room = path, room
        self.rows, self.columns = file.metadata.num_rows, tuple(file.schema_arrow.names)
        self.ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)])
        self.features = _features(file.schema_arrow.metadata or {}, path)
        self.sizes = _sizes(file.metadata)
        self.whole: dict[str, Any] = {}
        self.group = lru_cache(2)(self._group)
        self.opened: tuple[int, Any] = (os.getpid(), file)

    def __len__(self) -> int:
        return int(self.rows)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """All values of a column [N]: numbers, or objects where one is missing or is no number."""
        return as_array(self._read(name))

    def value(self, row: int, name: str) -> Any:
        """One value as Python has it; None if it is missing."""
        if self.sizes.get(name, 0) <= self.room:
            if name not in self.whole:
                self.whole[name] = self._read(name)
            return self.whole[name][row].as_py()
        number = int(np.searchsorted(self.ends, row, side="right"))
        first = int(self.ends[number - 1]) if number else 0
        return self.group(number, name)[row - first].as_py()

    def class_names(self, name: str) -> tuple[str, ...]:
        """The names of a `ClassLabel`."""
        names = self.features.get(name, {}).get("names") if isinstance(self.features.get(name), dict) else None
        return tuple(map(str, names)) if isinstance(names, list) else ()

    def numbers(self, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """Columns of numbers [N, len(names)], or [N, length] of one column of lists; in their own type.

        Raises: BadInput for columns of something else, missing values, or lists of different lengths.
        """
        if len(names) == 1 and "list" in str(self._schema().field(names[0]).type):
            return self._lists(names[0])
        columns = [self.column(name) for name in names]
        for name, column in zip(names, columns, strict=True):
            if column.dtype.kind not in "fiu":
                raise BadInput(f"{self.path}: the column {name!r} holds something else than numbers in every row.")
        return np.stack(columns, axis=1)

    def called(self, row: int) -> str:
        """What to call a row in a message."""
        return f"{self.path.name}, row {row}"

    def _lists(self, name: str) -> np.ndarray[Any, Any]:
        found = self._read(name).combine_chunks()
        values = np.array(found.flatten())
        if found.null_count or values.dtype.kind not in "fiu" or len(values) % max(1, len(found)):
            raise BadInput(
                f"{self.path}: the column {name!r} must hold a list of numbers in every row, all equally long."
            )
        length = len(values) // max(1, len(found))
        if any(one != length for one in require("pyarrow.compute", "data").list_value_length(found).to_pylist()):
            raise BadInput(f"{self.path}: the lists in the column {name!r} differ in length.")
        return values.reshape(len(found), length)

    def _file(self) -> Any:
        """The file, opened anew in a process that was forked off."""
        if self.opened[0] != os.getpid():
            self.opened = (os.getpid(), require("pyarrow.parquet", "data").ParquetFile(self.path))
        return self.opened[1]

    def _schema(self) -> Any:
        return self._file().schema_arrow

    def _read(self, name: str) -> Any:
        try:
            return self._file().read(columns=[name], use_threads=False).column(0)
        except Exception as error:  # as in `open_parquet`
            raise _broken(self.path, error) from error

    def _group(self, number: int, name: str) -> Any:
        try:
            return self._file().read_row_group(number, columns=[name], use_threads=False).column(0)
        except Exception as error:  # as in `open_parquet`
            raise _broken(self.path, error) from error


def open_parquet(path: Path, room: int | None = None) -> ParquetTable:
    """Open a Parquet file. Nothing but its end is read.

    Args:
        room: bytes that one column may take in memory; by default a quarter of what is free.

    Raises: BadInput if it is broken.
    """
    parquet = require("pyarrow.parquet", "data")
    try:
        file = parquet.ParquetFile(existing(path))
    except Exception as error:  # the library has a class for every fault of a file
        raise _broken(path, error) from error
    return ParquetTable(path, file, free_memory(torch.device("cpu")) // SHARE if room is None else room)


def as_array(column: Any) -> np.ndarray[Any, Any]:
    """A column of Arrow as an array: of numbers, or of objects where one is missing or is no number."""
    kind = str(column.type)
    if column.null_count or not kind.startswith(("int", "uint", "float", "double", "half")):
        found = np.empty(len(column), dtype=object)
        found[:] = column.to_pylist()
        return found
    return np.array(column.to_numpy())


def _broken(path: Path, error: Exception) -> BadInput:
    return BadInput(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}")


def _sizes(about: Any) -> dict[str, int]:
    """Bytes that each column takes, unpacked."""
    sizes: dict[str, int] = {}
    for group in (about.row_group(i) for i in range(about.num_row_groups)):
        for part in (group.column(i) for i in range(group.num_columns)):
            name = part.path_in_schema.partition(".")[0]
            sizes[name] = sizes.get(name, 0) + part.total_uncompressed_size
    return sizes


def _features(about: Mapping[bytes, bytes], path: Path) -> dict[str, Any]:
    """What `datasets` wrote down of the columns; nothing where another program wrote the file."""
    if b"huggingface" not in about:
        return {}
    record = parse_json(about[b"huggingface"], f"{path}, what datasets wrote of its columns")
    info = record.get("info") if isinstance(record, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}
