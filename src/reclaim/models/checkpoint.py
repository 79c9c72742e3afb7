"""Checkpoints: state dicts in files, read without running code and handed back the way they came."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.core.files import atomic_file, existing
from reclaim.core.torch_files import read_torch
from reclaim.models.state_dicts import (
    COUNTER,
    Which,
    chosen,
    named_like,
    say_what_is_beside,
    say_what_is_left,
    state_dicts,
)
from reclaim.models.weights import Weights

__all__ = ["Container", "load_weights", "save_weights"]


@dataclass(frozen=True)
class Container:
    """How a checkpoint file holds its weights, so that new weights can be handed back the same way.

    Attributes:
        suffix: ".safetensors", or ".pth" for torch's own files.
        nest: the key under which the state dict lies, if it lies under one; of several inside each other, with dots.
        prefix: what every name starts with ("module." from parallel training).
        dtype: the floating-point type, where all entries share a shorter one than float32.
        averaged: how many weights were averaged, where the file counts them as torch's AveragedModel does.
    """

    suffix: str = ".safetensors"
    nest: str | None = None
    prefix: str = ""
    dtype: torch.dtype | None = None
    averaged: int | None = None


def load_weights(path: Path, like: Collection[str] = (), which: Which | None = None) -> tuple[Weights, Container]:
    """Read a state dict from a ``.safetensors`` or a torch file, without running code from it.

    What trainers add goes by itself, and is said: a prefix of all names, what is no tensor, a second set of weights.

    Args:
        like: the names of the network's own entries. A prefix is taken off if they then are all there.
        which: the raw weights or the averaged ones, where the file has both; by default the averaged ones.

    Raises: BadInput for a truncated or pickled file, or one that holds no tensors.
    """
    existing(path)
    if path.suffix == ".safetensors":
        try:
            found: Any = load_file(path)
        except SafetensorError as error:
            raise BadInput(f"{path} is not a whole safetensors file: {error}. Was it copied completely?") from error
    else:
        found = read_torch(path, mapped=True)
    sets = [named for state in state_dicts(found, path) for named in named_like(state, like, path)]
    taken = chosen(sets, which, path)
    say_what_is_left(taken, path)
    say_what_is_beside(found, sets, path)
    floats = {tensor.dtype for tensor in taken.weights.values() if tensor.is_floating_point()}
    dtype = floats.pop() if len(floats) == 1 else None
    return taken.weights, Container(
        ".safetensors" if path.suffix == ".safetensors" else ".pth",
        taken.nest,
        taken.prefix,
        dtype if dtype in (torch.float16, torch.bfloat16) else None,
        taken.counted,
    )


def save_weights(path: Path, weights: Mapping[str, Tensor], container: Container = Container()) -> None:
    """Write a state dict the way its checkpoint came."""
    state = {
        container.prefix + name: tensor.detach()
        .to("cpu", container.dtype if container.dtype and tensor.is_floating_point() else tensor.dtype)
        .contiguous()
        .clone()
        for name, tensor in weights.items()
    }
    if container.averaged is not None:
        state[COUNTER] = torch.tensor(container.averaged)
    held: dict[str, Any] = state
    for key in reversed(container.nest.split(".") if container.nest else []):
        held = {key: held}
    with atomic_file(path) as temporary:
        if container.suffix == ".safetensors":
            save_file(state, temporary, metadata={"format": "pt"})
        else:
            torch.save(held, temporary)
