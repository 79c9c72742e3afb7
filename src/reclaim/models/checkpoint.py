"""Checkpoints: state dicts in files, read without running code and handed back the way they came."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from reclaim.core.errors import BadInput, few
from reclaim.core.files import atomic_file, existing
from reclaim.models.weights import Weights

__all__ = ["Container", "load_weights", "save_weights"]

_NESTS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Container:
    """How a checkpoint file holds its weights, so that new weights can be handed back the same way.

    Attributes:
        suffix: ".safetensors", or ".pth" for torch's own files.
        nest: the key under which the state dict lies, if it lies under one.
        prefix: what every name starts with ("module." from parallel training).
        dtype: the floating-point type, where all entries share a shorter one than float32.
    """

    suffix: str = ".safetensors"
    nest: str | None = None
    prefix: str = ""
    dtype: torch.dtype | None = None


def load_weights(path: Path) -> tuple[Weights, Container]:
    """Read a state dict from a ``.safetensors`` or a torch file, without running code from it.

    Raises: BadInput for a truncated or pickled file, or one that holds no tensors.
    """
    existing(path)
    if path.suffix == ".safetensors":
        try:
            found: Any = load_file(path)
        except SafetensorError as error:
            raise BadInput(f"{path} is not a whole safetensors file: {error}. Was it copied completely?") from error
    else:
        found = _load_torch(path)
    nest = next((key for key in _NESTS if isinstance(found, Mapping) and isinstance(found.get(key), Mapping)), None)
    state = found[nest] if nest else found
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        inside = few(state) if isinstance(state, Mapping) else type(state).__name__
        raise BadInput(f"{path} holds no state dict (names with tensors); it holds: {inside or 'nothing'}.")
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    weights = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    floats = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    dtype = floats.pop() if len(floats) == 1 else None
    suffix = ".safetensors" if path.suffix == ".safetensors" else ".pth"
    return weights, Container(suffix, nest, prefix, dtype if dtype in (torch.float16, torch.bfloat16) else None)


def save_weights(path: Path, weights: Mapping[str, Tensor], container: Container = Container()) -> None:
    """Write a state dict the way its checkpoint came."""
    state = {
        container.prefix + name: tensor.detach()
        .to("cpu", container.dtype if container.dtype and tensor.is_floating_point() else tensor.dtype)
        .contiguous()
        .clone()
        for name, tensor in weights.items()
    }
    with atomic_file(path) as temporary:
        if container.suffix == ".safetensors":
            save_file(state, temporary, metadata={"format": "pt"})
        else:
            torch.save({container.nest: state} if container.nest else state, temporary)


def _load_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of, it refuses in the next moment
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{path} needs code to be read (a pickle of more than tensors), and Reclaim runs no code from files.\n"
            "  Save the state dict alone: torch.save(model.state_dict(), path), or as .safetensors."
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, zipfile.BadZipFile, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path} is not a whole torch file: {reason}. Was it copied completely?") from error
