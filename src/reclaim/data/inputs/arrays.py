"""Arrays that are inputs already: numbers of a table, records of a sensor, embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.data.inputs.protocol import Augment, Inputs, stack

__all__ = ["AsTensors"]


@dataclass(frozen=True)
class AsTensors:
    """Arrays or tensors, one or several by name, as they are. Floating-point numbers become float32."""

    def __call__(self, example: Any, augment: Augment = "none", random: np.random.Generator | None = None) -> Inputs:
        """One example, an array or a mapping of arrays of any shapes. Nothing is augmented."""
        if isinstance(example, Mapping):
            return {name: _tensor(array) for name, array in example.items()}
        return _tensor(example)

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        """Stacked, name by name."""
        return stack(inputs)


def _tensor(array: Any) -> Tensor:
    made = torch.as_tensor(array)
    return made.float() if made.is_floating_point() else made
