"""A network of two towers, for images and texts, as a classifier: the texts become a linear head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ZeroShot"]


class ZeroShot(nn.Module):
    """Features of images, brought to length 1, through a linear head.

    Args:
        towers: answers `encode_image(images, normalize=True)`, [B, D]; all of it stays in the state dict.
        directions: [C, D], of each class, times the scale of the logits.
        bias: of the logits.
    """

    def __init__(self, towers: Any, directions: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.towers = towers
        self.head = nn.Linear(directions.shape[1], directions.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(directions)
            self.head.bias.fill_(bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] for images [B, 3, H, W]."""
        return self.head(self.towers.encode_image(images, normalize=True))
