"""What makes inputs of examples: one function for one example, and one for a batch of them.

A maker is any object with the two methods of `Maker`: `Preprocess` for images, `Texts` for texts, `AsTensors` for
arrays that are inputs already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from reclaim.core.errors import Argument, BadInput

__all__ = ["Augment", "Inputs", "Maker", "part", "shapes", "size_in_bytes", "stack", "tensors_in"]

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]

Augment = Literal["none", "flip", "crop-flip"]


class Maker(Protocol):
    """From examples as they are stored to what a network takes.

    A tensor is given to the network as it is, a mapping as keyword arguments.
    """

    def __call__(self, example: Any, augment: Augment = "none", random: np.random.Generator | None = None) -> Inputs:
        """The inputs of one example, without a dimension for the batch.

        Args:
            augment: how training images are varied; what is no image ignores it.
            random: where the randomness of `augment` comes from.
        """
        ...

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        """The inputs of several examples as those of one batch, [B, …] each. What differs in length is padded here."""
        ...


def stack(inputs: Sequence[Inputs]) -> Inputs:
    """Stack tensors of one shape, or mappings of such tensors name by name.

    Raises: BadInput if they differ in shape or in their names.
    """
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if len(tensors) == len(inputs):
        return _stacked(tensors)
    mappings = [x for x in inputs if not isinstance(x, Tensor)]
    names = {tuple(sorted(x)) for x in mappings} | ({("a tensor without a name",)} if tensors else set())
    if len(names) > 1:
        raise BadInput(f"the inputs of a batch differ in their names: {sorted(names)}. One maker makes all of them.")
    return {name: _stacked([x[name] for x in mappings]) for name in mappings[0]}


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    found = {tuple(x.shape) for x in tensors}
    if len(found) > 1:
        raise BadInput(
            f"the inputs differ in shape: {sorted(found)}.", Argument("image_size", "bring images to one size")
        )
    return torch.stack(list(tensors))


def shapes(x: Inputs) -> str:
    """The shapes of a batch without the number of rows, for a message: ``[3]``, or ``ids: [12], mask: [12]``."""
    if isinstance(x, Tensor):
        return str(list(x.shape[1:]))
    return ", ".join(f"{name}: {list(tensor.shape[1:])}" for name, tensor in x.items())


def tensors_in(x: Inputs) -> list[Tensor]:
    """The tensors of a batch, or of one example."""
    return [x] if isinstance(x, Tensor) else [one for one in x.values() if isinstance(one, Tensor)]


def size_in_bytes(x: Inputs) -> int:
    """What a batch, or one example, takes in memory."""
    return sum(tensor.nbytes for tensor in tensors_in(x))


def part(x: Inputs, rows: slice) -> Inputs:
    """Some rows of a batch [B, …]."""
    return x[rows] if isinstance(x, Tensor) else {name: tensor[rows] for name, tensor in x.items()}
