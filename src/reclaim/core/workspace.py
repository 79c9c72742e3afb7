"""A hidden folder beside each output while it is written: who writes it, what is not finished, and what a kill left.

``.OUT.reclaim`` holds a lock that the system lets go of when its process ends, however that ends, and everything that
does not have its name yet. Whoever writes the same output next finds the lock free and removes what lies there. Where
files cannot be locked (Windows, some network file systems) two commands on one output are not told apart, and what a
kill left is not removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from reclaim.core import disk
from reclaim.core.errors import BadInput
from reclaim.core.several import Several

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

__all__ = ["Workspace", "reserve", "reserved", "workspace", "workspace_of_all"]

LOCK, OLD, NAMES = "lock", "old", "names.json"
LONGEST = 200  # bytes of an output's name that its workspace repeats; file systems take 255


@dataclass
class Workspace:
    """The hidden folder of an output.

    Attributes:
        output: the absolute path of the output.
        folder: the folder itself, on the same file system.
        made: folders above the output that were not there before.
        lock: the open file that is locked; None where files cannot be locked.
        users: how many parts of this process use it.
    """

    output: Path
    folder: Path
    made: list[Path]
    lock: int | None
    users: int = 1

    @property
    def old(self) -> Path:
        """Where the old output lies for the moment in which it is replaced, if two names cannot be exchanged."""
        return self.folder / OLD

    def give_names(self, files: Sequence[tuple[Path, Path]], obsolete: Iterable[Path] = ()) -> None:
        """Give finished files of this folder their names, in order, and then remove what is obsolete.

        A list of the names is written first: after a kill, whoever writes here next does what was left to do.
        """
        gone = [path.name for path in obsolete]
        if len(files) + len(gone) > 1:
            listed = disk.new_file(self.folder)
            with disk.writing(self.folder / NAMES):
                disk.write_text(listed, json.dumps({"files": [[m.name, p.name] for m, p in files], "obsolete": gone}))
            disk.flush(listed)
            disk.replace(listed, self.folder / NAMES)
        for made, path in files:
            disk.replace(made, path)
        for name in gone:
            disk.remove(self.output.with_name(name))
        disk.settle(self.output.parent)
        disk.remove(self.folder / NAMES)

    def _redo(self) -> None:
        """Do what a kill left to do of a list of names, all of which belong to this output."""
        try:
            listed = json.loads((self.folder / NAMES).read_text(encoding="utf-8"))
            files = [(str(made), str(name)) for made, name in listed["files"]]
            gone = [str(name) for name in listed["obsolete"]]
        except (OSError, ValueError, TypeError, LookupError):  # there is none
            return
        names = [part for pair in files for part in pair] + gone
        if not all(Path(name).name == name for name in names) or not all(
            name.startswith(self.output.stem) for name in (*gone, *(name for _, name in files))
        ):
            return
        for made, name in files:
            if (self.folder / made).is_file():
                disk.replace(self.folder / made, self.output.with_name(name))
        for name in gone:
            disk.remove(self.output.with_name(name))

    def recover(self) -> None:
        """Bring back an old output that a kill left without its name, and remove everything else that it left."""
        self._redo()
        if os.path.lexists(self.old) and not os.path.lexists(self.output):
            disk.replace(self.old, self.output)
        self._empty()

    def close(self) -> None:
        """Remove the folder and let the next one in."""
        self._empty()
        disk.remove(self.folder / LOCK)
        for folder in (self.folder, *reversed(self.made)):
            with suppress(OSError):  # the next one is in already, or there is more in it
                folder.rmdir()
        if self.lock is not None:
            os.close(self.lock)

    def _empty(self) -> None:
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                disk.remove_folder(entry)
            elif entry.name != LOCK:
                disk.remove(entry)


_open: dict[Path, Workspace] = {}
_command: ContextVar[ExitStack | None] = ContextVar("command", default=None)


def _forget() -> None:
    """A forked process holds no lock of its parent's."""
    for space in _open.values():
        if space.lock is not None:
            os.close(space.lock)
    _open.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def workspace(output: Path) -> Iterator[Workspace]:
    """The workspace of an output: an open one whose output lies in the same folder or above, or a new one.

    Raises: BadInput if another process is writing the same output.
    """
    path = output.parent.resolve() / output.name
    space = _open.get(path) or next((s for s in _open.values() if _serves(s, path)), None)
    if space is None:
        space = _open[path] = _opened(path)
    else:
        space.users += 1
    try:
        yield space
    finally:
        space.users -= 1
        if not space.users:
            _open.pop(space.output, None)
            space.close()


@contextmanager
def workspace_of_all(output: Path, us: Several) -> Iterator[Workspace]:
    """The workspace of an output that several processes write together: the first one's, which the others write into.

    It alone has the lock, gives names and removes the folder; all of them must come here.

    Raises: BadInput if another command is writing the same output, or this process does not see the first one's folder.
    """
    path = output.parent.resolve() / output.name
    if us.first:
        with workspace(output) as space:
            us.each(str(space.folder))
            yield space
        return
    folder = Path(us.each("")[0])
    if not folder.is_dir():
        raise BadInput(
            f"process {us.rank + 1} of {us.count} finds no folder {folder}, in which the first one writes.\n"
            "  Give an output in a folder that all machines share, under the same name."
        )
    space = _open[path] = Workspace(path, folder, [], None)
    try:
        yield space
    finally:
        _open.pop(path, None)


@contextmanager
def reserved() -> Iterator[None]:
    """Keep what `reserve` takes inside it until its end."""
    with ExitStack() as stack:
        token = _command.set(stack)
        try:
            yield
        finally:
            _command.reset(token)


def reserve(output: Path) -> None:
    """Take an output for oneself until the command is over, bring back or remove what a killed one left of it.

    Raises: BadInput if another process is writing it.
    """
    stack = _command.get()
    if stack is None:
        with workspace(output):
            return
    stack.enter_context(workspace(output))


def _serves(space: Workspace, path: Path) -> bool:
    """Whether what is not finished of `path` may lie in an open workspace, from where it can be renamed."""
    inside = path.parent.is_dir() and path.is_relative_to(space.output.parent)
    return inside and path.parent.stat().st_dev == space.folder.stat().st_dev


def _opened(path: Path) -> Workspace:
    import hashlib
    import tempfile

    name = path.name if len(os.fsencode(path.name)) <= LONGEST else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    folder = path.with_name(f".{name}.reclaim")
    made = disk.make_folders(path.parent)
    try:
        lock = _locked(folder, path)
        if lock is None:  # then the folder may be another's too
            return Workspace(path, Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=path.parent)), made, None)
        space = Workspace(path, folder, made, lock)
        space.recover()
    except BaseException:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()
        raise
    return space


def _locked(folder: Path, path: Path) -> int | None:
    """The lock in a folder, which is made where it is not there; None where files cannot be locked."""
    while True:
        disk.make_folder(folder)
        try:
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the one before has just removed its folder
            continue
        try:
            if fcntl is None:
                raise OSError
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise BadInput(f"another command is writing {path}; wait until it is done, or give another path.") from None
        except OSError:
            os.close(handle)
            with suppress(OSError):
                (folder / LOCK).unlink()
                folder.rmdir()
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), (folder / LOCK).stat()):
                return handle
        os.close(handle)  # it was removed between the two calls
