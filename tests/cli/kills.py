"""Commands in forked children of one warm process, killed, or without room, before a change of the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from reclaim.cli.main import main
from reclaim.core.disk import BEFORE

__all__ = ["changes", "content", "full", "killed", "run"]

Watch = Callable[[str, Path], object]


def run(
    *words: object, watch: Watch | None = None, stdout: Path = Path(os.devnull), stderr: Path = Path(os.devnull)
) -> int:
    """Run a command in a child. Returns: its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            for number, path in ((1, stdout), (2, stderr)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            torch.set_num_threads(1)
            if watch is not None:
                BEFORE.set(watch)
            main([str(word) for word in words])
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def changes(*words: object) -> list[str]:
    """Run a command to its end. Returns: the changes of the disk that it made."""
    reader, writer = os.pipe()
    assert run(*words, watch=lambda what, path: os.write(writer, f"{what} {path.name}\n".encode())) == 0
    os.close(writer)
    with os.fdopen(reader) as file:
        return file.read().splitlines()


def killed(*words: object, before: int) -> bool:
    """Run a command that is killed before one of its changes. Returns: whether it came so far."""
    return run(*words, watch=_at(before, lambda: os.kill(os.getpid(), signal.SIGKILL))) == -signal.SIGKILL


def full(*words: object, before: int, stderr: Path) -> int:
    """Run a command that finds the disk full from one of its changes on. Returns: its exit code."""

    def no_room() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writing = ("make file", "make folder", "write", "flush")
    return run(*words, watch=_at(before, no_room, only=writing, ever=True), stderr=stderr)


def _at(number: int, act: Callable[[], None], *, only: tuple[str, ...] = (), ever: bool = False) -> Watch:
    seen = 0

    def watch(what: str, path: Path) -> None:
        nonlocal seen
        seen += 1
        if (seen > number if ever else seen == number + 1) and (not only or what in only):
            act()

    return watch


def content(path: Path) -> dict[str, str]:
    """What lies at a path, or in the files of a snapshot or calibrator that has this name, without its run's record."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem}[.-]*")
    kept = [file for file in files if file.is_file() and not file.name.endswith(("run.json", "claim.json"))]
    return {str(file.relative_to(path.parent)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(kept)}
