"""Inputs that a network may take, guessed from what makes its inputs and from its first layer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.protocol import Maker

__all__ = ["first_channels", "sample_inputs"]

SIDES = (32, 28, 64, 8, 16, 96, 224, 128, 256, 299, 384)  # pixels, the commonest and the cheapest first
LENGTHS = (64, 256, 1024)


def first_channels(module: nn.Module) -> int | None:
    """Channels that the first convolution takes; None without one, or if they are not those of an image."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3) else None


def sample_inputs(module: nn.Module, preprocess: Maker) -> Iterator[Tensor]:
    """One row [1, …] of noise in each shape that the network may take, most likely first; none if nothing is known."""
    first = next((part for part in module.modules() if part._parameters), None)
    kind = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    random = torch.Generator().manual_seed(0)
    for shape in _shapes(first, preprocess):
        yield torch.randn(1, *shape, generator=random).to(kind)
    if isinstance(first, nn.Embedding):
        yield torch.arange(1, 9)[None] % first.num_embeddings


def _shapes(first: nn.Module | None, preprocess: Maker) -> Iterator[tuple[int, ...]]:
    images = preprocess if isinstance(preprocess, Preprocess) else Preprocess()
    channels = first.in_channels if isinstance(first, nn.Conv2d) else images.channels
    if images.crop:
        yield channels or 3, images.crop, images.crop
    elif isinstance(first, nn.Linear):
        yield (first.in_features,)
    elif isinstance(first, nn.BatchNorm1d):
        yield (first.num_features,)
    elif isinstance(first, nn.LayerNorm):
        yield tuple(first.normalized_shape)
    elif isinstance(first, nn.Conv1d):
        yield from ((first.in_channels, length) for length in LENGTHS)
    elif channels:
        yield from ((channels, side, side) for side in SIDES)
