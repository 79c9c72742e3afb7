"""What kind of source a name stands for: told by what lies there, never by a suffix alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from reclaim.core.errors import BadInput, few
from reclaim.core.kinds import kind_of_file
from reclaim.data.splits import split_called

__all__ = ["TABLE_SUFFIXES", "TAR_SUFFIXES", "has_columns", "kind_of_source", "split_of", "tables_in", "tars_of"]

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
TAR_SUFFIXES = (".tar",)
SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves in a folder
_HUB = re.compile(r"(hf://datasets/)?[\w.-]+/[\w.-]+(:[\w.-]+)?")
_ABOUT = {"dataset_infos.json", "dataset_info.json", "state.json", "package.json", "config.json"}


def kind_of_source(source: str, *, columns_said: bool = False) -> str:
    """The kind of source: "digits", "folder", "table", "saved", "webdataset" or "hub".

    Args:
        columns_said: whether columns were named, which only tables have.

    Raises: BadInput if nothing is there, or it is none.
    """
    path = Path(source)
    if path.is_dir():
        return _kind_of_folder(path, columns_said=columns_said)
    if path.is_file():
        return "webdataset" if kind_of_file(path) == "tar" else "table"
    if source in ("digits", "digits-shifted"):
        return "digits"
    if any(sign in source for sign in "{*?[") and tars_of(source):
        return "webdataset"
    if _HUB.fullmatch(source) and not Path(source.partition("/")[0]).exists() and path.suffix not in TABLE_SUFFIXES:
        return "hub"
    raise BadInput(
        f"no data at {source!r}. Data are a folder of class folders (with or without train/, val/, test/), a table "
        "(.npz, CSV, JSON lines, Parquet) or a folder of them, a folder that `datasets` saved, WebDataset tars "
        "(shards-{000..009}.tar), OWNER/NAME of a hub's dataset, 'digits' or 'digits-shifted'."
    )


def has_columns(source: str) -> bool:
    """Whether a source is of a kind that has columns."""
    return kind_of_source(source) not in ("folder", "digits")


def _kind_of_folder(path: Path, *, columns_said: bool) -> str:
    if any((path / name).is_file() for name in SAVED):
        return "saved"
    if any(kind_of_file(one) == "tar" for one in path.iterdir() if _ends(one, TAR_SUFFIXES)):
        return "webdataset"
    tables = tables_in(path)
    if not tables:
        return "folder"
    named = [one for one in tables if split_of(one, path) or one.stem == "metadata"]
    folders = [one for one in path.iterdir() if one.is_dir() and not one.name.startswith((".", "_"))]
    holding = [one for one in folders if not any(table.is_relative_to(one) for table in tables)]
    classes = [one for one in holding if not split_called(one.name) or any(sub.is_dir() for sub in one.iterdir())]
    return "table" if columns_said or (named and len(classes) < 2) or not folders else "folder"


def tables_in(path: Path) -> list[Path]:
    """The tables of a folder: in it, in its ``data/``, and in its folders called like splits; in alphabetical order."""
    folders = [path, path / "data", *(one for one in path.iterdir() if one.is_dir() and split_called(one.name))]
    files = [one for folder in folders if folder.is_dir() for one in folder.iterdir()]
    return sorted(one for one in files if _ends(one, TABLE_SUFFIXES) and one.name not in _ABOUT)


def split_of(file: Path, root: Path) -> str | None:
    """The split that a file's name tells, or that of the folder that it lies in."""
    stem = re.sub(r"-\d+-of-\d+$", "", file.stem)
    told = {found for part in (stem, *re.split(r"[-_.]", stem)) if (found := split_called(part))}
    if len(told) == 1:
        return told.pop()
    return split_called(file.parent.name) if file.parent != root else None


def tars_of(source: str) -> list[Path]:
    """The archives that a pattern stands for: ``{000..009}``, ``*`` and ``?``; or those of a folder.

    Raises: BadInput for one that is not there.
    """
    path = Path(source)
    if path.is_dir():
        return sorted(one for one in path.iterdir() if _ends(one, TAR_SUFFIXES))
    names = list(_expanded(source))
    found: list[Path] = []
    for name in names:
        here = Path(name)
        signs = any(sign in here.name for sign in "*?[")
        found += sorted(here.parent.glob(here.name)) if signs else [here]
    if missing := [one for one in found if not one.is_file()]:
        raise BadInput(f"{source}: there is no file {few(missing, 3)}.")
    return found


def _expanded(pattern: str) -> Iterable[str]:
    """The names that braces stand for."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    if found[1] is not None:
        width, last = len(found[1]), int(found[2])
        parts = [str(number).zfill(width) for number in range(int(found[1]), last + 1)]
    else:
        parts = found[3].split(",")
    return [name for part in parts for name in _expanded(pattern[: found.start()] + part + pattern[found.end() :])]


def _ends(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
