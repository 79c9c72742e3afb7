"""Affine maps of logits: factors or a matrix, and a shift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reclaim.core.arrays import A, as_kind, as_tensor

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

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C] in the kind and type that came in, in at least single precision inside."""
        z = as_tensor(logits)
        return as_kind(self.of(z.to(torch.promote_types(z.dtype, torch.float32))).to(z.dtype), logits)

    def of(self, z: Tensor) -> Tensor:
        """The same for a tensor [N, C], in its own type and with its gradients."""
        scale, shift = self.scale.to(z), self.shift.to(z)
        return torch.addmm(shift, z, scale.T) if scale.ndim == 2 else torch.addcmul(shift, z, scale)

    def then(self, other: Affine) -> Affine:
        """First this map, then the other."""
        if other.scale.ndim == 1:
            scale = other.scale[:, None] * self.scale if self.scale.ndim == 2 else other.scale * self.scale
            return Affine(scale, other.scale * self.shift + other.shift)
        own = torch.diag(self.scale) if self.scale.ndim == 1 else self.scale
        return Affine(other.scale @ own, other.scale @ self.shift + other.shift)
