"""Records from files: JSON that may be damaged or lie. It is read here and nowhere else, and becomes typed at once."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from reclaim.core.errors import BadInput
from reclaim.core.files import existing

__all__ = ["MOST_BYTES", "MOST_DEPTH", "parse_json", "read_json", "read_record", "typed"]

T = TypeVar("T")

MOST_BYTES = 256 << 20  # of a record; the largest honest ones, offsets of a million classes, have a tenth
MOST_DEPTH = 64  # of lists and objects inside each other; honest ones have six


def read_record(path: Path, kind: type[T]) -> T:
    """Read a record as a type: a dataclass or a `msgspec.Struct`, whose fields say what must be there.

    Raises: BadInput that names the file, the key and what was expected.
    """
    return typed(read_json(path), kind, path)


def read_json(path: Path) -> Any:
    """Read a record, or say what is wrong with the file."""
    if (size := existing(path).stat().st_size) > MOST_BYTES:
        raise BadInput(f"{path} has {size:,} bytes; a record has {MOST_BYTES:,} at most.")
    return parse_json(path.read_bytes(), path)


def parse_json(text: bytes | str, what: object) -> Any:
    """The value that JSON text stands for.

    Args:
        what: what to call it in a message, a file or a key of one.

    Raises: BadInput if it is no JSON, has NaN or a number that no float holds, or is nested deeper than `MOST_DEPTH`.
    """
    text = text.removeprefix(codecs.BOM_UTF8) if isinstance(text, bytes) else text
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadInput(f"{what} is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise _too_deep(what) from error
    level = [value]
    for _ in range(MOST_DEPTH):
        inside = [part for part in level if isinstance(part, dict | list)]
        level = [child for part in inside for child in (part.values() if isinstance(part, dict) else part)]
        if not inside:
            return value
    raise _too_deep(what)


def typed(value: Any, kind: Any, what: object) -> Any:
    """A value as a type, without any guessing: no text is a number, no number a bool.

    Args:
        what: what to call it in a message.

    Raises: BadInput that says where in the value something else was expected.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        expected, _, key = str(error).replace("`", "").partition(" - at $")
        where = f", at {key.lstrip('.')}" if key else ""
        if isinstance(own := error.__cause__, BadInput):  # what the type itself refuses
            raise BadInput(f"{what}{where}: {own.what}", *own.do) from error
        raise BadInput(
            f"{what} holds something else than it should: {expected[0].lower()}{expected[1:]}{where}."
        ) from error


def _too_deep(what: object) -> BadInput:
    return BadInput(f"{what} is nested deeper than {MOST_DEPTH} levels; no record is.")
