"""Where networks run, by the names that torch gives devices. Imports no torch before a device is looked for."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from reclaim.core.errors import BadInput

if TYPE_CHECKING:
    import torch

__all__ = ["available_devices", "check_device", "find_device"]

_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def check_device(name: str) -> None:
    """Raises: BadInput if this is no name of a device, whether or not there is one."""
    if not isinstance(name, str) or not _NAMES.fullmatch(name):
        raise BadInput(f"the device is auto, cpu, cuda, cuda:0, cuda:1, …, or mps; given: {name!s:.40}.")


def find_device(name: str = "auto", home: torch.device | None = None) -> torch.device:
    """The device of that name; "auto" is a GPU if there is one, and "cuda" the current one of several.

    The environment variable RECLAIM_DEVICE says what "auto" is instead.

    Args:
        home: where a network lies; "auto" is there, if it is a GPU.

    Raises: BadInput with those there are, if there is no such one.
    """
    if name == "auto":
        name = os.environ.get("RECLAIM_DEVICE", "auto" if home is None or home.type == "cpu" else str(home))
    check_device(name)
    import torch

    there = available_devices()
    if name == "auto":
        name = "cuda" if "cuda:0" in there else there[-1]
    if name == "cuda" and "cuda:0" in there:
        name = f"cuda:{torch.cuda.current_device()}"
    if name not in there:
        raise BadInput(f"there is no device {name!r} here; there are: {', '.join(there)}.")
    return torch.device(name)


def available_devices() -> tuple[str, ...]:
    """The names of the devices there are; the CPU is the first."""
    import torch

    cards = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) if torch.cuda.is_available() else ()
    return ("cpu", *cards, *(("mps",) if torch.backends.mps.is_available() else ()))
