"""What a file holds, told by its content: names and suffixes lie, the first bytes do not. Imports no torch."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from reclaim.core.errors import BadInput
from reclaim.core.files import existing

__all__ = ["SUFFIXES", "TABLES", "Kind", "check_suffix", "kind_of_file"]

Kind = Literal[
    "npz", "npy", "torch", "safetensors", "parquet", "arrow", "json", "json lines", "text", "tar", "packed", "other"
]
TABLES = ("parquet", "json", "json lines", "text")  # what may be a table, or columns of numbers

SUFFIXES = {  # what a suffix says of a file; no output gets one that says something else than it holds
    **dict.fromkeys((".npz", ".npy"), "NumPy arrays"),
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), "a torch file"),
    **dict.fromkeys((".csv", ".tsv"), "a table in text"),
    ".json": "JSON",
    **dict.fromkeys((".jsonl", ".ndjson"), "JSON lines"),
    ".parquet": "a Parquet file",
    ".arrow": "an Arrow file",
    ".safetensors": "tensors (safetensors)",
    **dict.fromkeys((".html", ".htm"), "a page (HTML)"),
    ".onnx": "an ONNX graph",
    **dict.fromkeys((".pkl", ".pickle"), "a pickle"),
    **dict.fromkeys((".zip", ".gz", ".tar", ".tgz"), "an archive"),
}

_BEGINNINGS: dict[bytes, Kind] = {
    b"\x93NUMPY": "npy",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9": "torch",  # as torch wrote before version 1.6
    b"\x1f\x8b": "packed",
    b"BZh": "packed",
    b"\xfd7zXZ": "packed",
    b"\x28\xb5\x2f\xfd": "packed",
}
_HEADER = 100_000_000  # bytes of a safetensors header, at most
_LOOKED_AT = 4096


def kind_of_file(path: Path) -> Kind:
    """What a file holds. Text is "json" or "json lines" where its first sign is that of a list or an object.

    Raises: BadInput if there is no file.
    """
    with existing(path).open("rb") as file:
        head = file.read(_LOOKED_AT)
        size = file.seek(0, 2)
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head.startswith(b"PK"):
        return _in_zip(path)
    if head[257:262] == b"ustar":
        return "tar"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(_HEADER, size - 8):
        return "safetensors"
    return _in_text(head)


def check_suffix(out: Path, *suffixes: str) -> None:
    """Raise if the suffix of an output says that it holds something else than it will.

    Args:
        suffixes: those that are right, the usual one first; one that says nothing is left alone.
    """
    suffix = out.suffix.lower()
    if suffix in SUFFIXES and suffix not in suffixes:
        raise BadInput(
            f"{out} would hold {SUFFIXES[suffixes[0]]}, and its suffix says {SUFFIXES[suffix]}.\n"
            f"  Name it {out.stem}{suffixes[0]}."
        )


def _in_zip(path: Path) -> Kind:
    """An ``.npz`` or a torch file, which both are archives; one that is broken is left to its reader."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "torch" if path.suffix in (".pt", ".pth") else "npz"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    return "npz" if any(name.endswith(".npy") for name in names) or not names else "other"


def _in_text(head: bytes) -> Kind:
    """Of what is text in UTF-8, as far as it was read, or in what a byte order mark says."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text"
    if b"\0" in head:
        return "other"
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not only cut off inside a letter
            return "text" if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head) else "other"
        text = head[: error.start].decode("utf-8-sig")
    if any(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in text):
        return "other"
    first = text.lstrip()[:1]
    return "json" if first == "[" else "json lines" if first == "{" else "text"
