"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is being written vanishes, and the exit code says why."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "stopping"]

PATIENCE = 2.0  # seconds to clean up in, after which another signal is obeyed too
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has the first


class Stopped(KeyboardInterrupt):
    """The process was told to end.

    Attributes:
        code: the exit code that a shell gives such an end.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


class Signals:
    """What arrived, and when.

    Attributes:
        first: the one that stopped the command; None before.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.since = 0.0

    def arrived(self, number: int, frame: FrameType | None) -> None:
        """Stop, but let what is being stopped clean up in peace."""
        if self.first is None or time.monotonic() - self.since > PATIENCE:
            self.first, self.since = self.first or number, time.monotonic()
            sys.unraisablehook = _ignored  # what is torn down now complains to nobody
            raise Stopped(number)


def _ignored(_: object) -> None:
    """What a process that ends does with errors that nobody can catch."""


@contextmanager
def stopping() -> Iterator[Signals]:
    """Raise `Stopped` where the block is when such a signal arrives, unless it is ignored (``nohup``)."""
    signals, before = Signals(), {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, signals.arrived)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
