"""How bad input is said: what is wrong, what was given, what to do. Imports no torch.

The command line turns these two errors into one message and exit code 2; any other exception is our own mistake.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Argument", "BadInput", "BadKind", "Diverged", "alike", "few", "unknown", "within"]


@dataclass(frozen=True)
class Argument:
    """What to do about an error, and with which argument.

    Attributes:
        name: as in Python, ``image_size``. The command line has a flag of the same name.
        advice: what the argument is for, ``bring images to one size``; empty for that of the argument before.
        value: what to give, where it is always the same.
    """

    name: str
    advice: str = ""
    value: str | bool | None = None

    def __str__(self) -> str:
        return f"{self.name}=" if self.value is None else f"{self.name}={self.value!r}"


class BadInput(ValueError):
    """A value that cannot be used: what is wrong and what was given, and the arguments that mend it.

    ``BadInput("the sizes differ.", Argument("image_size", "bring images to one size"))`` reads ``the sizes differ.
    Bring images to one size: image_size=.``
    """

    def __init__(self, what: str, *do: Argument) -> None:
        super().__init__(what, *do)
        self.what, self.do = what, do

    def __str__(self) -> str:
        return self.said(str)

    def said(self, name: Callable[[Argument], str]) -> str:
        """The message, with the arguments called as `name` calls them; nothing for one that has no name there."""
        named = [(a.advice, name(a)) for a in self.do]
        told = (f"; or {advice}{': ' if word else ''}{word}" if advice else f", {word}" for advice, word in named)
        advice = "".join(told)[5:]
        return f"{self.what}\n  {advice[:1].upper()}{advice[1:]}." if advice else self.what


class Diverged(BadInput):
    """Training left the finite numbers: the same run would do so again."""


class BadKind(TypeError):
    """A thing of the wrong kind."""


@contextmanager
def within(what: object) -> Iterator[None]:
    """Bad input found inside is said to be that of `what`, a file, unless the message names it or one beside it."""
    try:
        yield
    except BadInput as error:
        if _names(error, what):
            raise
        raise BadInput(f"{what}: {error.what}", *error.do) from error
    except BadKind as error:
        if _names(error, what):
            raise
        raise BadKind(f"{what}: {error}") from error


def _names(error: Exception, what: object) -> bool:
    folder = f"{what.parent}{os.sep}" if isinstance(what, Path) and what.parent != Path() else str(what)
    return folder in str(error) or str(what) in str(error)


def few(items: Iterable[object], most: int = 5) -> str:
    """The first few of many, for a message: ``a, b, c, … (12 in all)``."""
    words = [str(item) for item in items]
    return ", ".join(words[:most]) + (f", … ({len(words)} in all)" if len(words) > most else "")


def alike(missing: Iterable[str], known: Iterable[str]) -> str:
    """A line of a message on names that are missing only for what the eye does not see; empty where there are none.

    Names are alike that differ in their Unicode form, in case, or in blanks at the ends.
    """
    there: dict[str, str] = {}
    for name in known:
        there.setdefault(_plain(name), name)
    pairs = [(name, there[_plain(name)]) for name in sorted(missing) if there.get(_plain(name), name) != name]
    if not pairs:
        return ""
    shown = (f"{name!a} and {other!a} ({_difference(name, other)})" for name, other in pairs)
    return f"\n  Alike to the eye, but not the same name: {few(shown, 3)}."


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def _difference(a: str, b: str) -> str:
    """By what two names differ that are alike."""
    if unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b):
        return "another Unicode form"
    if " ".join(a.split()) == " ".join(b.split()):
        return "blanks"
    if a.casefold() == b.casefold():
        return "upper and lower case"
    return "case, blanks or Unicode form"


def unknown(kind: str, name: str, known: Sequence[str]) -> BadInput:
    """The error for a name that does not exist: it lists those that do, or the nearest ones where there are many."""
    near = difflib.get_close_matches(name, known, n=5)
    if len(known) > 30:
        return BadInput(f"no {kind} called {name!r} among {len(known)}; the nearest: {few(near or known)}.")
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return BadInput(f"no {kind} called {name!r}; there are: {', '.join(known)}.{hint}")
