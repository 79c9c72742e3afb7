"""CPU seconds of a call, and an end to calls that take too many of them."""

from __future__ import annotations

import contextlib
import io
import signal
import statistics
import time
import warnings
from collections.abc import Callable, Iterator

__all__ = ["GivenUp", "calm", "first_line", "seconds"]

SHORT = 0.2  # seconds: the clock of CPU time is coarse


class GivenUp(BaseException):
    """The time is over. Not an Exception, so that no library takes it for one of its own."""


@contextlib.contextmanager
def calm(give_up: float) -> Iterator[None]:
    """No warnings, no prints of others, and at most so many CPU seconds."""

    def stop(*_: object) -> None:
        raise GivenUp

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, give_up)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def seconds(call: Callable[[], object], repeats: int, limit: float = float("inf")) -> float:
    """Median CPU time; one run alone where that takes longer than `limit`, and short calls many times in a row."""
    times: list[float] = []
    while len(times) < repeats and not (times and times[0] > limit):
        start, calls = time.process_time(), 0
        while not calls or time.process_time() - start < SHORT:
            call()
            calls += 1
        times.append((time.process_time() - start) / calls)
    return statistics.median(times)


def first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).partition("\n")[0].replace("|", "/")
    return f"{type(error).__name__}: {line[:100]}"
