"""Running a network: where, and what it answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference

__all__ = ["find_device", "logits_of"]


def logits_of(module: nn.Module, x: Tensor) -> Tensor:
    """The logits [B, C] for inputs x [B, …], or an error that shows what the network was given."""
    try:
        z = module(x)
    except RuntimeError as error:
        raise BadInput(
            f"the network cannot take inputs of shape {list(x.shape[1:])}: {str(error).splitlines()[0]}\n"
            "  Say how inputs are prepared: --image-size, --mean, --std."
        ) from error
    if not isinstance(z, Tensor) or z.ndim != 2:
        given = list(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise BadInput(f"a classifier answers logits [rows, classes]; this network answers {given}.")
    return z


def find_device(inference: Inference) -> torch.device:
    """Where to run; "auto" is a GPU if there is one."""
    if inference.device != "auto":
        return torch.device(inference.device)
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
