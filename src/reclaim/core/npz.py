"""Arrays from ``.npz`` files that may be damaged or lie. Nothing is unpickled, and nothing is allocated on a file's
word alone."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import psutil
from numpy.lib import format as npy

from reclaim.core.errors import BadInput
from reclaim.core.files import existing

__all__ = ["MOST_PACKED", "load_npy", "load_npz", "numbers_or_texts", "text", "texts"]

Array: TypeAlias = np.ndarray[Any, Any]

MOST_PACKED = 200  # times that an array of more than `_LARGE` bytes may be larger than it is in the file
_LARGE = 1 << 30
_KINDS = "biufSU"
_END = b"PK\x05\x06"  # how an archive's last record starts, behind which there may be a comment
_LONGEST_END = 22 + 0xFFFF
_SAID_ELSEWHERE = 0xFFFF  # for more entries than two bytes can say


def load_npz(path: Path) -> dict[str, Any]:
    """The arrays of an ``.npz``, of numbers, bools or text.

    Raises: BadInput that names the file and the array: damaged, encrypted or pickled, of another type, of another size
        than it says, or larger than memory.
    """
    with existing(path).open("rb") as opened:
        if not zipfile.is_zipfile(opened):
            raise BadInput(f"{path} cannot be read: it is no .npz, or was cut off.")
        name = ""
        try:
            with zipfile.ZipFile(opened) as archive:
                members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
                _check_members(path, archive.infolist())
                _check_count(opened, len(archive.infolist()))
                arrays = {}
                for name, member in members.items():
                    _check_header(f"{path}: {name!r}", archive, member)
                    with archive.open(member) as file:
                        arrays[name] = npy.read_array(file, allow_pickle=False)
                        file.read()  # to its end, where the checksum is compared
                return arrays
        except BadInput:
            raise
        except MemoryError as error:
            raise BadInput(f"{path}: {name!r} is larger than the memory that is free.") from error
        except Exception as error:  # a damaged file ends in any class of the libraries that unpack and parse it
            where = f"{path}: {name!r}" if name else f"{path}"
            raise BadInput(f"{where} cannot be read: {str(error).strip() or type(error).__name__}.") from error


def load_npy(path: Path) -> Array:
    """The array in an ``.npy``, of numbers or bools, mapped into memory: what is not used is not read.

    Raises: BadInput that names the file: cut off, pickled, of another type, or of another size than it says.
    """
    with existing(path).open("rb") as file:
        try:
            _check_array(f"{path}", file, path.stat().st_size)
        except BadInput:
            raise
        except Exception as error:  # as in `load_npz`
            raise BadInput(f"{path} cannot be read: {str(error).strip() or type(error).__name__}.") from error
    return np.load(path, mmap_mode="c", allow_pickle=False)  # a change would be this program's own


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise BadInput(f"{path} holds an array twice: {sorted(names)}.")
    for member in members:
        if member.flag_bits & 1:
            raise BadInput(f"{path}: {member.filename!r} is encrypted; save the arrays without a password.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadInput(
                f"{path}: {member.filename!r} is compressed by method {member.compress_type}, which NumPy never uses; "
                "save it with numpy.savez or numpy.savez_compressed."
            )
        if member.file_size > max(_LARGE, MOST_PACKED * member.compress_size):
            raise BadInput(
                f"{path}: {member.filename!r} unpacks from {member.compress_size:,} to {member.file_size:,} bytes, "
                f"more than {MOST_PACKED} times as much; if it is meant so, save it with numpy.savez."
            )
    free, needed = psutil.virtual_memory().available, sum(member.file_size for member in members)
    if needed > free:
        raise BadInput(f"{path} takes {needed:,} bytes of memory, and {free:,} are free.")


def _check_count(file: IO[bytes], found: int) -> None:
    """Raise unless an archive's list of contents has as many entries as the record behind it says.

    `zipfile` does not compare them, and an entry whose length is damaged swallows the next one: an array is gone.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_END))
    end = file.read()
    (said,) = struct.unpack_from("<H", end, end.rindex(_END) + 10)
    if said not in (found, _SAID_ELSEWHERE):
        raise zipfile.BadZipFile(f"its list of contents is damaged: {found} of {said} arrays are found")


def _check_header(what: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise unless an array is of a type that is read here, and of the size that its shape says."""
    if not member.filename.endswith(".npy"):
        raise BadInput(f"{what} is no array; an .npz holds .npy files and nothing else.")
    with archive.open(member) as file:
        _check_array(what, file, member.file_size)


def _check_array(what: str, file: IO[bytes], size: int) -> None:
    """As `_check_header`, of an array of `size` bytes with its header."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise BadInput(f"{what} is in version {version[0]}.{version[1]} of NumPy's format, which is not read here.")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise BadInput(f"{what} holds pickled objects, which could run code; save numbers or text.")
    if dtype.kind not in _KINDS or (dtype.kind == "f" and dtype.itemsize > 8):
        raise BadInput(f"{what} holds {dtype}; arrays here are of whole or floating-point numbers, bools or text.")
    declared, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or declared != there:
        raise BadInput(f"{what} says that it has the shape {list(shape)}, {declared:,} bytes, and has {there:,}.")


def texts(array: Array, what: str, count: int | None = None) -> tuple[str, ...]:
    """Names from an array of text or whole numbers, or of the bytes (uint8) of names joined by newlines.

    Args:
        what: what to call them in a message.
        count: how many there must be.

    Raises: BadInput if there are more or fewer, or they are something else.
    """
    try:
        if array.ndim == 1 and array.dtype == np.uint8:
            names = array.tobytes().decode().split("\n")
        elif array.ndim == 1 and array.dtype.kind == "S":
            names = [name.decode() for name in array.tolist()]
        elif array.ndim == 1 and array.dtype.kind in "Uiu":
            names = [str(name) for name in array.tolist()]
        else:
            raise BadInput(f"{what} must be a list of text; given: {array.dtype} {list(array.shape)}.")
    except (UnicodeError, ValueError, SystemError) as error:  # code points that there are none of, too
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{what} are no text: {error}.") from error
    if count is not None and len(names) != count:
        raise BadInput(f"{what}: there are {len(names)} for {count} rows.")
    return tuple(names)


def text(array: Array, what: str) -> str:
    """One word from an array without dimensions.

    Raises: BadInput if it is something else.
    """
    if array.ndim:
        raise BadInput(f"{what} must be one text; given: {array.dtype} {list(array.shape)}.")
    return texts(array.reshape(1), what)[0]


def numbers_or_texts(array: Array, what: str) -> Array:
    """The array as it is, or of text that was checked.

    Raises: BadInput if it is text that cannot be read.
    """
    return np.array(texts(array, what)) if array.dtype.kind in "US" else array
