"""Torch's own files, read without running code from them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from reclaim.core.errors import BadInput

__all__ = ["read_torch"]


_STATE = "Save the state dict alone: torch.save(model.state_dict(), path), or as .safetensors."


def read_torch(path: Path, save: str = _STATE) -> Any:
    """What a torch file holds, on the CPU.

    Args:
        save: how to save what is wanted of it, where it holds more than tensors.

    Raises: BadInput for a pickle of more than tensors, which could run code, and for a damaged file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of, it refuses in the next moment
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{path} needs code to be read (a pickle of more than tensors), and Reclaim runs no code from files.\n"
            f"  {save}"
        ) from error
    except Exception as error:  # whatever the reader of a damaged file trips over, IndexError and struct.error too
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path} is not a whole torch file: {reason}. Was it copied completely?") from error
