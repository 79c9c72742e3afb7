"""How much memory there is to take."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

__all__ = ["free_memory", "free_shared_memory"]

_SHARED = Path("/dev/shm")


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken on a GPU, or in this machine and what it grants to this process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [_of_machine()]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = (_number(Path("/sys/fs/cgroup") / name) for name in (limit, used))
        if most is not None and now is not None:
            found.append(max(0, most - now))
    return min(found)


def free_shared_memory() -> int:
    """Bytes free where processes hand tensors to each other; 0 where there is no such place."""
    return shutil.disk_usage(_SHARED).free if _SHARED.is_dir() else 0


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 0


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
