"""Progress bars on standard error: silent when it is no terminal, or once `quiet` is set."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from reclaim.core.terminal import console, printable

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["silence", "track"]

_quiet = False
_display: Progress | None = None
T = TypeVar("T")


def silence(quiet: bool = True) -> None:
    """Show no bar from now on."""
    global _quiet
    _quiet = quiet


def track(items: Iterable[T], what: str, total: int | None = None, done: int = 0) -> Iterator[T]:
    """The items, with a bar that says what is being done, how far it is and how long it will take.

    The bar of work inside other work stands below its bar.
    """
    if _quiet or not sys.stderr.isatty():
        yield from items
        return
    with _shown() as display:
        task = display.add_task(printable(what), total=total, completed=done)
        try:
            for item in items:
                yield item
                display.advance(task)
        finally:
            display.remove_task(task)


@contextmanager
def _shown() -> Iterator[Progress]:
    """The one display that a terminal has room for: that of the work around, or a new one."""
    global _display
    if _display is not None:
        yield _display
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as _display:
        try:
            yield _display
        finally:
            _display = None
