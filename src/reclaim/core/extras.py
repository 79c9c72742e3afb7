"""Optional libraries: imported where they are needed, and an error that names the extra where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from reclaim.core.errors import BadInput
from reclaim.core.operators import define_missing

__all__ = ["require"]

_KEEP: list[Any] = []  # a definition lives as long as its library object


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it. Every optional library comes in by this door.

    Many of them import torchvision where it is installed, and one that was built for CUDA stops at its import beside a
    CPU torch, for want of two operators. They are defined first; what others import stays as it is.
    """
    name = module.partition(".")[0]
    if importlib.util.find_spec(name) is None:
        raise BadInput(f"this needs {name}, which is not installed: pip install 'reclaim[{extra}]'.")
    if module not in sys.modules:
        _let_torchvision_load()
    return importlib.import_module(module)


def _let_torchvision_load() -> None:
    if "torchvision" in sys.modules or _KEEP:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is not None and spec.origin is not None:
        _KEEP.append(define_missing(Path(spec.origin).parent))
