"""How bad input is said: what is wrong, what was given, what to do. Imports no torch.

The command line turns these two errors into one message and exit code 2; any other exception is our own mistake.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reclaim.core.nearest import nearest

__all__ = [
    "Argument",
    "BadInput",
    "BadKind",
    "Diverged",
    "alike",
    "difference",
    "few",
    "look_alike",
    "meant",
    "unknown",
    "within",
]


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


def look_alike(name: str) -> str:
    """What names have in common that people read as one.

    Left out are the form of Unicode, letters without width, case, blanks at the ends, and zeros in front of a number.
    """
    shown = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    plain = " ".join(unicodedata.normalize("NFKC", shown).casefold().split())
    plain = unicodedata.normalize("NFKC", plain)  # small letters may come apart
    return plain.lstrip("0") or "0" if plain.isascii() and plain.isdigit() else plain


def difference(a: str, b: str) -> str:
    """By what two names differ that look alike."""
    if a.isdigit() and b.isdigit():
        return "leading zeros"
    if " ".join(a.split()) == " ".join(b.split()):
        return "blanks"
    if unicodedata.normalize("NFKC", a) == unicodedata.normalize("NFKC", b):
        return "the form of Unicode"
    return "upper and lower case" if a.casefold() == b.casefold() else "case, blanks or the form of Unicode"


def alike(missing: Iterable[str], known: Iterable[str]) -> str:
    """A line of a message on names that are missing only for what the eye does not see; empty where there are none."""
    there: dict[str, str] = {}
    for name in known:
        there.setdefault(look_alike(name), name)
    pairs = [(name, there.get(look_alike(name), name)) for name in sorted(missing)]
    shown = [f"{name!a} and {other!a} ({difference(name, other)})" for name, other in pairs if name != other]
    return f"\n  Alike to the eye, but not the same name: {few(shown, 3)}." if shown else ""


def meant(missing: Iterable[str], known: Iterable[str]) -> str:
    """Lines of a message on names that do not match: those that are alike to the eye, and of the others the nearest."""
    ours, theirs = sorted(missing), sorted(known)
    there = set(map(look_alike, theirs))
    others = [name for name in ours if look_alike(name) not in there]
    pairs = [(name, nearest(name, theirs)) for name in others[:20]]  # of many more, a search would take seconds
    found = [f"{name!a} and {near[0]!a}" for name, near in pairs if near]
    return alike(ours, theirs) + (f"\n  Closest: {few(found, 3)}." if found else "")


def unknown(kind: str, name: str, known: Sequence[str]) -> BadInput:
    """The error for a name that does not exist: it lists those that do, or the nearest ones where there are many."""
    near = nearest(name, known, most=5)
    if len(known) > 30:
        return BadInput(f"no {kind} called {name!r} among {len(known)}; the nearest: {few(near or known)}.")
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return BadInput(f"no {kind} called {name!r}; there are: {', '.join(known)}.{hint}")
