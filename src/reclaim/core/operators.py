"""torchvision's operators, where its compiled part does not load beside the torch that is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["define_missing"]

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def define_missing(folder: Path) -> Any:
    """Give torch the two operators that torchvision looks for as it is imported; None where nothing is missing.

    Its compiled part brings them, if that can be loaded. Otherwise they get a name and compute nothing: what needs
    them (`torchvision.ops.nms`) fails where it is called, and the rest works.

    Args:
        folder: that of the installed torchvision.

    Returns: what must be kept, for a definition lives as long as its library object.
    """
    import torch

    try:
        torch.ops.load_library(str(next(folder.glob("_C*"))))
    except (OSError, StopIteration):
        pass
    else:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SCHEMA)
    return library
