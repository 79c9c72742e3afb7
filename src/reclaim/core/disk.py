"""The calls that change the file system, and no others: tests stop before each of them, or make one fail.

Whoever writes through another library does so inside `writing`.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

__all__ = [
    "BEFORE",
    "append",
    "exchange",
    "flush",
    "make_folder",
    "make_folders",
    "new_file",
    "new_folder",
    "remove",
    "remove_folder",
    "replace",
    "settle",
    "write_bytes",
    "write_text",
    "writing",
]

BEFORE: ContextVar[Callable[[str, Path], object]] = ContextVar("before")  # told of each change before it is made

_EXCHANGE = 2  # RENAME_EXCHANGE of Linux
_HERE = -100  # AT_FDCWD of Linux: paths are relative to the working folder
_NOT_HERE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # what file systems say that cannot exchange


def _change(what: str, path: Path) -> None:
    told = BEFORE.get(None)
    if told is not None:
        told(what, path)


def make_folder(path: Path) -> None:
    """A folder that may be there already."""
    _change("make folder", path)
    path.mkdir(exist_ok=True)


def make_folders(path: Path) -> list[Path]:
    """A folder with those above it. Returns: those that were not there, outermost first."""
    missing: list[Path] = []
    place = path
    while not place.exists():
        missing.insert(0, place)
        place = place.parent
    for folder in missing:
        make_folder(folder)
    return missing


def new_folder(inside: Path) -> Path:
    """An empty folder, with the mode that any program's folder gets."""
    _change("make folder", inside)
    import tempfile

    made = Path(tempfile.mkdtemp(dir=inside))
    made.chmod(0o777 & ~_umask())
    return made


def new_file(inside: Path) -> Path:
    """An empty file, with the mode that any program's file gets."""
    _change("make file", inside)
    import tempfile

    handle, name = tempfile.mkstemp(dir=inside)
    os.close(handle)
    made = Path(name)
    made.chmod(0o666 & ~_umask())
    return made


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let another library write a file or a folder; what it says of a full disk becomes the system's own error.

    Raises: OSError with the path, where it could not be written.
    """
    _change("write", path)
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except Exception as error:
        number = _number_of(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _number_of(error: Exception) -> int | None:
    """The system's number of an error that a library words in its own way; None for what is no such error."""
    found = re.search(r"\(os error (\d+)\)", str(error))  # safetensors
    if found:
        return int(found[1])
    torch_wrote = re.search(r"inline_container|PytorchStreamWriter|file write failed", str(error))
    return errno.ENOSPC if torch_wrote else None


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8."""
    with writing(path):
        path.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file."""
    with writing(path):
        path.write_bytes(content)


def append(path: Path, text: str) -> None:
    """Write at the end of a file of UTF-8."""
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(text)


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    _change("flush", path)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where that can be waited for: what was done is done anyway."""
    with suppress(OSError):
        flush(folder)


def replace(source: Path, target: Path) -> None:
    """Give a file or a folder another name, at once; a file that has it already is gone then."""
    _change("rename", target)
    source.replace(target)


def exchange(first: Path, second: Path) -> bool:
    """Let two files or folders exchange their names, at once.

    Returns: whether the system and the file system can; if not, nothing has changed.
    """
    _change("exchange", second)
    if sys.platform != "linux":
        return False
    import ctypes  # slower to import than a page of help is to print

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # of the C library since 2018
    if rename is None or not rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE):
        return rename is not None
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(second))


def remove(path: Path) -> None:
    """Remove a file or a link that may be gone already."""
    _change("remove", path)
    path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, as far as that is allowed."""
    with suppress(OSError):
        for entry in sorted(path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                remove_folder(entry)
            else:
                with suppress(OSError):
                    remove(entry)
    _change("remove folder", path)
    with suppress(OSError):
        path.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
