"""Writing files whole or not at all: everything is written beside its place and renamed into it, so that a full disk or
a kill leaves the old file as it was."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reclaim.core.errors import Argument, BadInput

__all__ = [
    "atomic_directory",
    "atomic_file",
    "check_free",
    "existing",
    "put_in_place",
    "write_json",
]


def check_free(path: Path, *, force: bool = False) -> None:
    """Raise if `path` exists, before any work is done, unless it may be replaced."""
    if (path.exists() or path.is_symlink()) and not force:
        raise BadInput(f"{path} exists already.", Argument("force", "give another path, or replace it", True))


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name if the block succeeds, and vanishes if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name if the block succeeds; an old one goes only then."""
    check_free(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished folder its name; what had the name before is removed only afterwards."""
    for file in temporary.rglob("*"):
        _flush(file)
    if not (path.exists() or path.is_symlink()):
        temporary.replace(path)
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)) / path.name
        path.replace(old)
        temporary.replace(path)
        shutil.rmtree(old.parent, ignore_errors=True)
    _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, record: object) -> None:
    """Write a record; NaN and infinities are refused, because JSON has none."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def existing(path: Path) -> Path:
    """The path, if a file is there.

    Raises: BadInput if not.
    """
    if not path.is_file():
        raise BadInput(f"{path} is not a file." if path.exists() else f"there is no file {path}.")
    return path
