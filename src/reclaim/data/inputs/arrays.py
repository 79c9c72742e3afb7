"""Arrays that are inputs already: numbers of a table, records of a sensor, embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.data.inputs.protocol import Augment, Inputs, stack

__all__ = ["AsTensors", "finite"]


@dataclass(frozen=True)
class AsTensors:
    """Arrays or tensors, one or several by name, as they are.

    Floating-point numbers become float32 and must be finite; unsigned ones of 16 bits and more become int64.
    """

    def __call__(self, example: Any, augment: Augment = "none", random: np.random.Generator | None = None) -> Inputs:
        """One example, an array or a mapping of arrays of any shapes. Nothing is augmented."""
        if isinstance(example, Mapping):
            return {name: _tensor(array) for name, array in example.items()}
        return _tensor(example)

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        """Stacked, name by name."""
        return stack(inputs)


def finite(x: Tensor) -> Tensor:
    """The inputs, if all of their numbers are finite.

    Raises: BadInput if not.
    """
    if x.is_floating_point() and not torch.isfinite(x).all():
        raise BadInput(f"its inputs hold NaN or infinite numbers ({int((~torch.isfinite(x)).sum())} of {x.numel()}).")
    return x


def _tensor(array: Any) -> Tensor:
    made = torch.as_tensor(array)
    if made.dtype in (torch.uint16, torch.uint32, torch.uint64):  # which hardly any layer takes
        made = made.to(torch.int64)
    return finite(made.float()) if made.is_floating_point() else made
