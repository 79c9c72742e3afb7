"""A checksum in a snapshot's own header, by which a damaged file is known before its numbers are used."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from reclaim.core.errors import BadInput

__all__ = ["UNSEALED", "check_seal", "seal"]

UNSEALED = "0" * 16  # what the header says until the file is whole
_SEAL = re.compile(rb'"checksum": "([0-9a-f]{16})"')
_BLOCK = 1 << 20


def seal(path: Path) -> str:
    """Write the checksum of a whole file into its header, whose metadata say ``"checksum": UNSEALED``; returns it."""
    recorded, found, at = _sums(path)
    assert recorded == UNSEALED
    with path.open("r+b") as file:
        file.seek(at)
        file.write(found.encode())
    return found


def check_seal(path: Path) -> None:
    """Raise if a file is not as it was when it was sealed. One that never was, an older or a foreign one, passes.

    Any change of one byte, and any lost or moved page, is noticed; a forger is not.
    """
    recorded, found, _ = _sums(path)
    if recorded not in ("", found):
        raise BadInput(
            f"{path} is not as it was written: its checksum is {found}, and should be {recorded}.\n"
            "  It was damaged or changed since; copy it again, or predict again."
        )


def _sums(path: Path) -> tuple[str, str, int]:
    """The checksum that the header says, empty for none; that of the file; and where the header says it.

    Words of eight bytes are added up block by block: as fast as the file can be read.
    """
    with path.open("rb") as file:
        size = int.from_bytes(start := file.read(8), "little")
        header = file.read(min(size, path.stat().st_size))
        if not (found := _SEAL.search(header)):
            return "", "", 0
        digest = hashlib.sha256(start + header[: found.start(1)] + UNSEALED.encode() + header[found.end(1) :])
        block, total = bytearray(_BLOCK), 0
        while count := file.readinto(block):
            block[count:] = bytes(_BLOCK - count)
            total = (total * 1_000_003 + int(np.frombuffer(block, "<u8").sum())) % 2**64
    digest.update(total.to_bytes(8, "little"))
    return found[1].decode(), digest.hexdigest()[:16], len(start) + found.start(1)
