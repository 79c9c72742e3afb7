"""One command in this process, and whether what it did is right, whatever it was given."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from reclaim.cli.main import main

__all__ = ["Outcome", "Tally", "at_work", "fault_of", "lying_at", "ran"]

LONGEST = 60.0  # seconds, after which a command hangs
TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # what no message may hold


class Hangs(BaseException):
    """A command that does not end."""


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        code: its exit code.
        out, err: what it printed.
        changed: names of the files that are not as they were.
    """

    code: int
    out: str
    err: str
    changed: tuple[str, ...] = ()


@dataclass
class Tally:
    """What was tried of one kind.

    Attributes:
        tried, refused: how often, and how often the answer was a refusal.
        faults: what was tried and what is wrong with what came.
    """

    tried: int = 0
    refused: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def lying_at(folder: Path) -> dict[str, str]:
    """Everything that lies in a folder, with what it holds; kinds and modes too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")] = f"{about.st_mode}:{content}"
    return found


@contextmanager
def _kept(number: int) -> Iterator[TextIO]:
    """A file in place of standard output or error, for Python and for the libraries below it."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="") as kept:
        there = os.dup(number)
        os.dup2(kept.fileno(), number)
        try:
            yield kept
        finally:
            os.dup2(there, number)
            os.close(there)


def _text(stream: TextIO) -> str:
    """All that was written to a file of `_kept`."""
    stream.flush()
    stream.seek(0)
    return stream.read()


def ran(folder: Path, *words: object) -> Outcome:
    """Run a command in a folder."""
    before, code = lying_at(folder), 0

    def too_long(*_: Any) -> None:
        raise Hangs

    last = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    with at_work(folder), _kept(1) as out, _kept(2) as err, redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        except Hangs:
            code = -signal.SIGALRM
        except KeyboardInterrupt:
            raise
        except BaseException:
            code = 1
            traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, last)
        texts = [_text(stream) for stream in (out, err)]
    after = lying_at(folder)
    changed = tuple(name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name))
    return Outcome(code, *texts, changed)


def fault_of(outcome: Outcome, *, bad: bool | None = None) -> str:
    """What is wrong with an outcome; empty for nothing.

    Args:
        bad: whether what was given is surely wrong; None where it may be either, as a changed digit is.
    """
    last = outcome.err.strip().splitlines()[-1:] or [""]
    if outcome.code == -signal.SIGALRM:
        return "does not end"
    if outcome.code not in (0, 2) or "Traceback" in outcome.err:
        return f"exit code {outcome.code}, {last[0][:160]}"
    if TERMINAL.search(outcome.err + outcome.out):
        return "what a terminal obeys is printed"
    if outcome.code == 0:
        return "is accepted" if bad else ""
    if bad is False:
        return f"is refused: {last[0][:160]}"
    if outcome.out:
        return f"prints on standard output: {outcome.out[:80]!r}"
    if not outcome.err.strip():
        return "no message"
    if outcome.changed:
        return f"changes {', '.join(outcome.changed[:4])}"
    return ""
