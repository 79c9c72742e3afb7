"""How bad input is said: what is wrong, what was given, what to do. Imports no torch.

The command line turns these two errors into one message and exit code 2; any other exception is our own mistake.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["BadInput", "BadKind", "few", "unknown"]


class BadInput(ValueError):
    """A value that cannot be used."""


class BadKind(TypeError):
    """A thing of the wrong kind."""


def few(items: Iterable[object], most: int = 5) -> str:
    """The first few of many, for a message: ``a, b, c, … (12 in all)``."""
    words = [str(item) for item in items]
    return ", ".join(words[:most]) + (f", … ({len(words)} in all)" if len(words) > most else "")


def unknown(kind: str, name: str, known: Sequence[str]) -> BadInput:
    """The error for a name that does not exist: it lists those that do, or the nearest ones where there are many."""
    near = difflib.get_close_matches(name, known, n=5)
    if len(known) > 30:
        return BadInput(f"no {kind} called {name!r} among {len(known)}; the nearest: {few(near or known)}.")
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return BadInput(f"no {kind} called {name!r}; there are: {', '.join(known)}.{hint}")
