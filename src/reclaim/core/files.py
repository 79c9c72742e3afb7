"""Writing files whole or not at all: everything is written beside its place and renamed into it, so that a full disk or
a kill leaves the old file as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from reclaim.core import disk
from reclaim.core.errors import Argument, BadInput
from reclaim.core.finite import json_text
from reclaim.core.several import Several
from reclaim.core.workspace import Workspace, workspace, workspace_of_all

__all__ = [
    "atomic_directory",
    "atomic_file",
    "check_free",
    "discard",
    "existing",
    "part_of",
    "put_in_place",
    "together",
    "write_json",
]


def check_free(path: Path, *, force: bool = False, folder: bool | None = None) -> None:
    """Raise if `path` exists, before any work is done, unless it may be replaced.

    Args:
        folder: whether a folder or a file is to be written; what is the other of both is never replaced.
    """
    if not os.path.lexists(path):
        return
    if folder is not None and path.exists() and path.is_dir() != folder:
        is_, takes = ("a folder", "a file") if path.is_dir() else ("no folder", "a folder")
        raise BadInput(f"{path} is {is_}, and {takes} is to be written; give another path.")
    if not force:
        raise BadInput(f"{path} exists already.", Argument("force", "give another path, or replace it", True))


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path that takes the name of `path` if the block succeeds, and vanishes if not.

    Raises: OSError if there is no room, whatever library writes; BadInput if another process is writing the same file.
    """
    with workspace(path) as space:
        temporary = disk.new_file(space.folder)
        try:
            with disk.writing(path):
                yield temporary
            disk.flush(temporary)
            group = _group.get()
            if group is not None and group.space is space:
                group.files.append((temporary, path))
                return
            disk.replace(temporary, path)
            disk.settle(path.parent)
        except BaseException:
            disk.remove(temporary)
            raise


@dataclass(frozen=True)
class Group:
    """Files that get their names together.

    Attributes:
        space: where they are until then.
        files: each with the name that it will have.
        obsolete: what is removed once all have their names.
    """

    space: Workspace
    files: list[tuple[Path, Path]] = field(default_factory=list)
    obsolete: list[Path] = field(default_factory=list)

    def made(self, path: Path) -> Path:
        """Where what was written for `path` is."""
        return next((made for made, name in reversed(self.files) if name == path), path)


_group: ContextVar[Group | None] = ContextVar("group", default=None)


@contextmanager
def together(path: Path, us: Several = Several()) -> Iterator[Group]:
    """What is written inside beside `path` gets its names at the end, in order, or not at all.

    The last file is the one that tells of the others. A group inside another one belongs to it.

    Args:
        us: of several processes, all of which come here, the first gives the names: of its own group, to which the
            others hand theirs over.
    """
    if (outer := _group.get()) is not None:
        yield outer
        return
    with workspace(path) if us.count == 1 else workspace_of_all(path, us) as space:
        group = Group(space)
        token = _group.set(group)
        try:
            yield group
        finally:
            _group.reset(token)
        if group.files or group.obsolete:
            space.give_names(group.files, group.obsolete)
        us.wait()  # then all of them find what was written


@contextmanager
def atomic_directory(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder that takes the name of `path` if the block succeeds; an old one goes only then."""
    with workspace(path) as space:
        check_free(path, force=force, folder=True)
        temporary = disk.new_folder(space.folder)
        try:
            with disk.writing(path):
                yield temporary
            put_in_place(temporary, path)
        finally:
            disk.remove_folder(temporary)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished folder its name, and remove what had the name before.

    At every moment there is one whole folder of that name, where the system can exchange two names. Elsewhere the old
    one lies for a moment in the workspace of `path`, and the next one to write there brings it back after a kill.
    """
    for file in temporary.rglob("*"):
        disk.flush(file)
    with workspace(path) as space:
        if not os.path.lexists(path):
            disk.replace(temporary, path)
        elif disk.exchange(temporary, path):
            discard(temporary, path)
        else:
            disk.replace(path, space.old)
            disk.replace(temporary, path)
            disk.remove_folder(space.old)
        disk.settle(path.parent)


def discard(path: Path, output: Path) -> None:
    """Remove a folder that belongs to an output: whole or not at all, as others see it."""
    if os.path.lexists(path):
        with workspace(output) as space:
            trash = space.folder / os.urandom(8).hex()
            disk.replace(path, trash)
            disk.remove_folder(trash)


def write_json(path: Path, record: object) -> None:
    """Write a record; NaN and infinities are refused, because JSON has none."""
    with atomic_file(path) as temporary:
        disk.write_text(temporary, json_text(record, 2) + "\n")


def existing(path: Path) -> Path:
    """The path, if a file is there.

    Raises: BadInput if not.
    """
    if not path.is_file():
        raise BadInput(f"{path} is not a file." if path.exists() else f"there is no file {path}.")
    return path


def part_of(path: Path, begin: int, end: int) -> bytes:
    """The bytes of a file from `begin` to before `end`. It is opened for this alone, so that processes share nothing.

    Raises: BadInput if the file has become shorter, or is no longer there.
    """
    with existing(path).open("rb") as file:
        file.seek(begin)
        part = file.read(end - begin)
    if len(part) < end - begin:
        raise BadInput(f"{path} has become shorter since it was opened.")
    return part
