"""What a run found out or decided by itself: kept for the record of the command that ran it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["note", "noted"]

_kept: ContextVar[dict[str, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def noted() -> Iterator[dict[str, Any]]:
    """What is noted within, by name."""
    notes: dict[str, Any] = {}
    token = _kept.set(notes)
    try:
        yield notes
    finally:
        _kept.reset(token)


def note(name: str, value: Any, merge: Callable[[Any, Any], Any] | None = None) -> None:
    """Keep a value under a name; forgotten where nobody asked (`noted`).

    Args:
        merge: makes one value of an earlier one and this; by default this takes its place.
    """
    notes = _kept.get()
    if notes is not None:
        notes[name] = merge(notes[name], value) if merge and name in notes else value
