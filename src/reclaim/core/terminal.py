"""What reaches the terminal: names as they are written, and nothing in them that a terminal or a reader's eye obeys."""

from __future__ import annotations

import logging
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from reclaim.core.finite import json_text

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Spoken", "console", "in_json", "printable", "say"]

TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F}  # turn the direction of writing
BREAKING = {0x2028, 0x2029, 0xFEFF}
KEPT = {ord("\n"), ord("\t")}


def printable(text: str) -> str:
    """The text with every control, turn of direction and half of a character written out: ``\\x1b``, ``\\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str, short: str = "x") -> str:
    code = ord(letter)
    if short == "x" and 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    hidden = unicodedata.category(letter) in ("Cc", "Cs") and code not in KEPT
    if hidden or code in TURNING or code in BREAKING:
        return f"\\x{code:02x}" if code < 0x100 and short == "x" else f"\\u{code:04x}"
    return letter


def in_json(record: object) -> str:
    """A record as one line of JSON, whose texts hold nothing that a terminal obeys; it reads as what was given."""
    text = json_text(record)
    return text if text.isascii() else "".join(_shown(letter, "u") for letter in text)


def console(*, stderr: bool = False) -> Console:
    """The one way to print for people: no markup, nothing coloured by guess, long lines whole."""
    from rich.console import Console
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(printable(text), **how)

    return Plain(stderr=stderr, markup=False, highlight=False, soft_wrap=True, emoji=False)


class Spoken(logging.Handler):
    """What is logged, as messages on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one of them."""
        say(f"reclaim: {self.format(record)}")


def say(message: str) -> None:
    """One message on standard error."""
    sys.stderr.write(f"{printable(message)}\n")
