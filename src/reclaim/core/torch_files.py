"""Torch's own files, read without running code from them."""

from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from reclaim.core.errors import BadInput

__all__ = ["read_torch"]


_STATE = "Save the state dict alone: torch.save(model.state_dict(), path), or as .safetensors."


def read_torch(path: Path, save: str = _STATE, *, mapped: bool = False) -> Any:
    """What a torch file holds, on the CPU.

    Args:
        save: how to save what is wanted of it, where it holds more than tensors.
        mapped: tensors stay in the file until they are read; for those that are copied from there at once.

    Raises: BadInput for a pickle of more than tensors, which could run code, and for a damaged file.
    """
    try:
        # a trainer's arguments are let in too: names and values, and no code
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # what torch warns of, it refuses in the next moment
            archive = mapped and zipfile.is_zipfile(path)  # torch's older files are none, and are read whole
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{path} needs code to be read (a pickle of more than tensors), and Reclaim runs no code from files.\n"
            f"  {save}"
        ) from error
    except Exception as error:  # whatever the reader of a damaged file trips over, IndexError and struct.error too
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path} is not a whole torch file: {reason}. Was it copied completely?") from error
