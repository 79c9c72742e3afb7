"""Optional libraries: imported where they are needed, and an error that names the extra where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import torch

from reclaim.core.errors import BadInput

__all__ = ["require"]

IMPORT_IT = ("lightning", "peft", "transformers")  # libraries that import torchvision where it is installed

_KEEP: list[torch.library.Library] = []  # a definition lives as long as its library object


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise BadInput(
            f"this needs {module.partition('.')[0]}, which is not installed: pip install 'reclaim[{extra}]'."
        )
    if module.partition(".")[0] in ("torchvision", *IMPORT_IT) and importlib.util.find_spec("torchvision") is not None:
        _let_torchvision_load()
    return importlib.import_module(module)


def _let_torchvision_load() -> None:
    """torchvision built for CUDA stops at import beside a CPU torch, for want of two operators nothing here calls."""
    if "torchvision" in sys.modules:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEEP.append(library)
