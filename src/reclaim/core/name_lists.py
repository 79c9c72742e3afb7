"""Lists of names in text files, in the encodings that editors write. Imports no torch."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

from reclaim.core.errors import BadInput, few
from reclaim.core.files import existing

__all__ = ["names_in"]

MARKS = {  # the byte order marks, longer ones first: that of UTF-16 begins that of UTF-32
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def names_in(path: Path) -> list[str]:
    """Names from a file: one per line, without blanks around them, or a JSON list of strings in a ``.json``.

    UTF-8 is read, and whatever a byte order mark says. Blank lines at the end do not count.

    Raises: BadInput for another encoding, a blank or repeated name, or none at all.
    """
    text = _text(path)
    names = _from_json(text, path) if path.suffix == ".json" else [line.strip() for line in _lines(text)]
    if not names:
        raise BadInput(f"{path} holds no names.")
    what = "entry" if path.suffix == ".json" else "line"
    if blank := [number for number, name in enumerate(names, start=1) if not name.strip()]:
        raise BadInput(f"{path} names nothing in {what} {few(blank)}; give one name in each.")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise BadInput(f"{path}: names must differ; given more than once: {few(twice)}.")
    return names


def _lines(text: str) -> list[str]:
    return text.rstrip().split("\n") if text.strip() else []


def _text(path: Path) -> str:
    """What a file says; BadInput names the encoding that was expected."""
    raw = existing(path).read_bytes()
    mark = next((mark for mark in MARKS if raw.startswith(mark)), b"")
    encoding = MARKS.get(mark, "utf-8")
    try:
        text = raw[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[len(mark) :][: error.start]
        raise BadInput(
            f"{path} is not in {encoding.upper()}, in which it was read: the byte 0x{raw[len(mark) + error.start]:02x} "
            f"in line {before.count(10) + 1} is none of it.\n"
            "  It may be in an encoding of Windows, as cp1252, which no mark tells. Save it as UTF-8."
        ) from error
    if "\0" in text:
        raise BadInput(f"{path} is no text in UTF-8: it holds zero bytes, as UTF-16 does. Save it as UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _from_json(text: str, path: Path) -> list[str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON list of names: {error}.") from error
    if not isinstance(names, list):
        raise BadInput(f"{path} is no JSON list of names, but holds {type(names).__name__}.")
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise BadInput(f"{path} is no JSON list of names: {few(map(repr, wrong))} is no text; put names in quotes.")
    return names
