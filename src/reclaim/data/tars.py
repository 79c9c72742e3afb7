"""Archives of examples: what lies in a tar is found once, and read from its place when it is asked for."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reclaim.core.errors import BadInput
from reclaim.core.files import part_of
from reclaim.core.name_lists import names_in
from reclaim.core.records import parse_json
from reclaim.core.tables import as_column
from reclaim.data.report import LeftOut

__all__ = ["TarTable", "open_tars"]

PICKLED = ("pyd", "pickle", "pkl", "pth", "pt")  # could run code
END = 1024  # bytes of zeros that end a tar
CLASSES = ("classes.txt", "classnames.txt")
TEXT = ("txt", "text", "cls", "caption", "label", "class")
Place = tuple[int, int, int]  # of which archive, from where, to where


class TarTable:
    """Examples in archives.

    Attributes:
        path: the folder of the archives.
        files: the archives.
        names: of the examples.
        places: where the members of each example lie, by their suffix.
        left_out: what is no member of an example.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        examples: Mapping[tuple[int, str], Mapping[str, Place]],
        left_out: list[LeftOut],
    ) -> None:
        self.path, self.files, self.left_out = path, list(files), left_out
        self.names, self.places = list(examples), list(examples.values())
        suffixes = tuple(dict.fromkeys(suffix for members in self.places for suffix in members))
        self.keys = tuple(self._json(0)) if "json" in suffixes and self.places else ()
        self.columns = tuple(dict.fromkeys((*(one for one in suffixes if one != "json"), *self.keys)))

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """All values of a column [N]; whole numbers of ``cls`` as such."""
        values = [self.value(row, name) for row in range(len(self))]
        if name == "cls" and all(isinstance(one, str) and one.isascii() and one.isdigit() for one in values):
            values = [int(one) for one in values]
        return as_column(values)

    def value(self, row: int, name: str) -> Any:
        """One value: bytes of a member, text of one that holds text, a key of the ``json``; None if it is missing."""
        if name not in self.places[row]:
            return self._json(row).get(name) if name in self.keys else None
        raw = self._member(row, name)
        try:
            return raw.decode().strip() if name in TEXT else raw
        except UnicodeDecodeError as error:
            raise BadInput(f"{self.called(row)}: its {name} is no text in UTF-8.") from error

    def class_names(self, name: str) -> tuple[str, ...]:
        """Those in a list beside the archives, of ``cls``."""
        lists = [self.path / one for one in CLASSES if (self.path / one).is_file()]
        return tuple(names_in(lists[0])) if name == "cls" and lists else ()

    def numbers(self, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """Columns of numbers [N, len(names)]."""
        return np.stack([self.column(name).astype(np.float64) for name in names], axis=1)

    def called(self, row: int) -> str:
        """What to call an example in a message."""
        file, name = self.names[row]
        return f"{self.files[file].name}, {name}"

    def _member(self, row: int, suffix: str) -> bytes:
        file, begin, end = self.places[row][suffix]
        return part_of(self.files[file], begin, end)

    def _json(self, row: int) -> Mapping[str, Any]:
        if "json" not in self.places[row]:
            return {}
        found = parse_json(self._member(row, "json"), f"{self.called(row)}, its json")
        return found if isinstance(found, dict) else {}


def open_tars(files: Sequence[Path], path: Path) -> TarTable:
    """Find what lies in archives. Only the headers are read.

    Raises: BadInput if one is damaged, or an example has a member twice.
    """
    examples: dict[tuple[int, str], dict[str, Place]] = {}
    left: dict[str, list[str]] = {}
    for number, file in enumerate(files):
        try:
            with tarfile.open(file, "r:") as archive:
                for member in archive:
                    why = _why_left(member)
                    if why:
                        left.setdefault(why, []).append(f"{file.name}, {member.name}")
                        continue
                    name, suffix = _parted(member.name)
                    place = (number, member.offset_data, member.offset_data + member.size)
                    if examples.setdefault((number, name), {}).setdefault(suffix, place) != place:
                        raise BadInput(f"{file} holds {member.name} twice.")
        except (tarfile.TarError, EOFError, ValueError, OSError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{file} is no whole tar: {error}. Was it copied completely?") from error
        size = file.stat().st_size
        if any(part_of(file, max(0, size - END), size)):
            raise BadInput(
                f"{file} is no whole tar: the empty blocks at its end are missing. Was it copied completely?"
            )
    if not examples:
        raise BadInput(f"{path}: no example lies in {', '.join(file.name for file in files[:3])}.")
    return TarTable(path, files, examples, [LeftOut.of(why, names) for why, names in sorted(left.items())])


def _why_left(member: tarfile.TarInfo) -> str:
    """Why a member is none of an example's; nothing if it is."""
    base = member.name.rpartition("/")[2]
    if member.isdir():
        return "hidden"
    if not member.isfile():
        return "links and special files in archives"
    if base.startswith(".") or "." not in base or member.name.startswith("__"):
        return "hidden"
    if _parted(member.name)[1].rpartition(".")[2] in PICKLED:
        return "pickled, which could run code and are never opened"
    return ""


def _parted(name: str) -> tuple[str, str]:
    """The name of the example, and the suffix in small letters: what follows the first dot of a member's base name."""
    folder, _, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), suffix.lower()
