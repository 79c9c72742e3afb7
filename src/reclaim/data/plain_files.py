"""Plain files without labels: images, folders of them, texts a line each, and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from reclaim.core.errors import BadInput, few
from reclaim.core.kinds import TABLES, kind_of_file
from reclaim.core.tables import open_table
from reclaim.data.guesses import Columns, columns_in
from reclaim.data.inputs.decoding import SUFFIXES, decode, is_image, suffix_of
from reclaim.data.listing import Listing
from reclaim.data.records import Split
from reclaim.data.report import LeftOut
from reclaim.data.rows import examples_in

__all__ = ["PlainFiles", "plain_files"]


@dataclass(frozen=True)
class PlainFiles:
    """Examples without labels.

    Attributes:
        rows: the examples; every label is 0 and means nothing.
        left_out: what is no example.
        notes: what was guessed.
    """

    rows: Split
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _One:
    name: str
    read: Callable[[], Any]


def plain_files(places: Sequence[str | Path], columns: Columns = Columns()) -> PlainFiles:
    """The examples in files and folders, in the order given; those of a folder in alphabetical order, at any depth.

    A file is known by its content: an image; a table, where it is Parquet or JSON lines, or its first line names a
    column of texts or images; else texts, one in each line that is not blank.

    Raises: BadInput for a place that is not there, a file that is none of these, or no example at all.
    """
    found: list[_One] = []
    left: list[LeftOut] = []
    notes: list[str] = []
    for place in map(Path, places):
        if place.is_dir():
            listing = Listing(str(place))
            images = listing.images(str(place))
            found += [_One(image, partial(decode, image, image)) for image in images]
            left += listing.left_out
        elif not place.is_file():
            raise BadInput(f"there is no file or folder {place}.")
        elif suffix_of(str(place)) in SUFFIXES or is_image(str(place)):
            found.append(_One(str(place), partial(decode, place, str(place))))
        else:
            found += _of_text(place, columns, notes)
    if not found:
        raise BadInput(f"{few(places)} hold nothing to classify: neither images nor texts.")
    rows = Split(torch.zeros(len(found), dtype=torch.int64), lambda i: found[i].read(), lambda i: found[i].name)
    return PlainFiles(rows, tuple(left), tuple(dict.fromkeys(notes)))


def _of_text(path: Path, columns: Columns, notes: list[str]) -> list[_One]:
    kind = kind_of_file(path)
    if kind not in TABLES:
        raise BadInput(f"{path} is neither an image, nor a table (CSV, JSON lines, Parquet), nor a text in UTF-8.")
    if kind == "text" and not _is_table(path, columns):
        return _lines(path)
    table = open_table(path, kind)
    found = columns_in(table.columns, columns, path, labelled=False)
    notes += [f"{path}: {found.kind}s are read from the column {found.example!r}"]
    read = examples_in(table, found, None)
    return [_One(table.called(row), partial(read, row)) for row in range(len(table))]


def _is_table(path: Path, columns: Columns) -> bool:
    """Whether the first line of a text names a column: one that was said, or has a common name."""
    if columns != Columns() or path.suffix.lower() in (".csv", ".tsv"):
        return True
    with path.open("rb") as file:
        first = file.readline().decode("utf-8-sig", "replace").strip()
    names = [name.strip().strip('"') for name in first.replace("\t", ",").replace(";", ",").split(",")]
    try:
        return bool(columns_in(names, columns, path, labelled=False))
    except BadInput:
        return False


def _lines(path: Path) -> list[_One]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not in UTF-8: {error.reason} at byte {error.start}. Save it as UTF-8.") from error
    lines = enumerate(text.split("\n"), start=1)
    return [_One(f"{path}:{number}", partial(str, line.strip())) for number, line in lines if line.strip()]
