"""Resident memory, for the benchmarks (Linux)."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

__all__ = ["extra_memory", "keep_memory"]


def extra_memory(call: Callable[[], object]) -> int:
    """Peak resident bytes during the call beyond those before it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed must not hide what this one takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    call()
    return max(0, _status("VmHWM") - before)


def keep_memory() -> None:
    """Let memory that is freed stay with this process from now on."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))
