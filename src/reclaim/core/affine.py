"""Affine maps of logits: factors or a matrix, and a shift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Affine"]


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
