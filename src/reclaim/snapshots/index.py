"""The index of a snapshot in several files: which they are, and that they are of one run."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from reclaim.core.errors import BadInput, few
from reclaim.core.records import read_json, typed

__all__ = ["Index", "Shard", "index_of", "is_index", "named_as_shard", "read_index", "shard_names"]

_INDEX = ".index.json"


@dataclass(frozen=True)
class Shard:
    """One of the files.

    Attributes:
        file: its name, in the index's folder.
        rows: how many it holds.
        checksum: what its header says; empty in files of version 0.1.
    """

    file: str
    rows: Annotated[int, Meta(ge=0)]
    checksum: str = ""


@dataclass(frozen=True)
class Index:
    """What an index says.

    Attributes:
        shards: the files, in the order of their rows.
        rows: of all files together; None where it is not said.
        run: a word that the files of one run share, and no others; empty in files of version 0.1.
    """

    shards: Annotated[tuple[Shard, ...], Meta(min_length=1)]
    rows: int | None = None
    run: str = ""


def index_of(path: Path) -> Path:
    """Where the index of a snapshot in several files lies."""
    return path if path.name.endswith(_INDEX) else path.with_name(path.name + _INDEX)


def is_index(index: Path) -> bool:
    """Whether a file is an index of a snapshot, and not one of a model's weights, say."""
    record = read_json(index)
    return isinstance(record, dict) and "shards" in record


def read_index(index: Path) -> Index:
    """Read an index.

    Raises: BadInput if it is none, names a file twice or one of another folder, or contradicts itself.
    """
    record = read_json(index)
    if not isinstance(record, dict) or "shards" not in record:
        raise BadInput(f"{index} is no index of a snapshot; `reclaim predict` writes one for large snapshots.")
    made: Index = typed(record, Index, index)
    files = [shard.file for shard in made.shards]
    if elsewhere := [file for file in files if Path(file).name != file]:
        raise BadInput(f"{index} names files that do not lie beside it: {few(elsewhere)}.")
    if twice := [file for file, count in Counter(files).items() if count > 1]:
        raise BadInput(f"{index} names files more than once: {few(twice)}.")
    total = sum(shard.rows for shard in made.shards)
    if made.rows not in (None, total):
        raise BadInput(f"{index} says that there are {made.rows} rows, and its files have {total}.")
    return made


def shard_names(path: Path, count: int, run: str) -> list[str]:
    """The names of a snapshot's files, which no other run's have."""
    return [f"{path.stem}-{i:05d}-of-{count:05d}-{run}{path.suffix}" for i in range(1, count + 1)]


def named_as_shard(name: str, path: Path) -> bool:
    """Whether a file is called as a shard of a snapshot is, of any run."""
    pattern = rf"{re.escape(path.stem)}-\d{{5}}-of-\d{{5}}(-[0-9a-f]+)?{re.escape(path.suffix)}"
    return re.fullmatch(pattern, name) is not None
