"""Maps from logits to logits. A calibrator is a frozen record that exists only once it is fitted.

The protocol: a dataclass whose fields are plain numbers, strings and tuples; ``__call__(logits [N, C]) -> [N, C]`` that
keeps shape and kind and treats rows independently; a class method ``fit`` that makes one from data; and, if it is
affine, ``affine(classes) -> Affine`` so that it can be folded into the last layer of a model with these classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from reclaim.arrays import A

__all__ = ["Affine", "Calibrator"]


@dataclass(frozen=True)
class Affine:
    """z -> scale z + shift.

    Attributes:
        scale: [C] factors, or a [C, C] matrix that multiplies from the left.
        shift: [C].
    """

    scale: Tensor
    shift: Tensor

    def then(self, other: Affine) -> Affine:
        """First this map, then the other."""
        if other.scale.ndim == 1:
            scale = other.scale[:, None] * self.scale if self.scale.ndim == 2 else other.scale * self.scale
            return Affine(scale, other.scale * self.shift + other.shift)
        own = torch.diag(self.scale) if self.scale.ndim == 1 else self.scale
        return Affine(other.scale @ own, other.scale @ self.shift + other.shift)


class Calibrator(Protocol):
    """What every calibrator can do."""

    def __call__(self, logits: A) -> A: ...
