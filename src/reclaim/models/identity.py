"""Which weights these are, whatever file they lie in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["identity"]


def identity(theta: Mapping[str, Tensor]) -> str:
    """A short hash of the names, shapes, types and bytes of weights; the order of the names does not matter.

    It is empty where there are no bytes: of no weights, or of some that have no values yet.
    """
    if not theta or any(tensor.is_meta or tensor.layout != torch.strided for tensor in theta.values()):
        return ""
    found = hashlib.sha256()
    for name in sorted(theta):
        tensor = theta[name].detach().cpu().contiguous()
        found.update(f"{name} {list(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]
