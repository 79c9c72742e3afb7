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
MOST = 24  # shapes to try


def first_channels(module: nn.Module) -> int | None:
    """Channels that the first convolution takes; None without one, or if they are not those of an image."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3, 4) else None


def sample_inputs(module: nn.Module, preprocess: Maker) -> Iterator[Tensor]:
    """Two rows [2, …] of noise in each shape that the network may take, most likely first; none if nothing is known.

    With one row, a network that squeezes its answer would answer no rows. Images have values in [0, 1].
    """
    kind = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    random = torch.Generator().manual_seed(0)
    images = preprocess if isinstance(preprocess, Preprocess) else Preprocess()
    channels = next((layer.in_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)), images.channels)
    if images.crop:
        shapes: list[tuple[int, ...]] = [(channels or 3, images.crop, images.crop)]
    else:  # the first layer registered is not always the first called
        shapes = list(dict.fromkeys(shape for layer in module.modules() for shape in _shapes(layer, channels)))
    for shape in shapes[:MOST]:
        noise = torch.rand if len(shape) == 3 else torch.randn
        yield noise(2, *shape, generator=random).to(kind)
    words = next(
        (part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag)), 0
    )
    if words:
        yield torch.arange(1, 17).view(2, 8) % words


def _shapes(layer: nn.Module, channels: int | None) -> list[tuple[int, ...]]:
    """Shapes of one row that would go through a network which begins with this layer."""
    if isinstance(layer, nn.Conv2d):
        return [(channels or layer.in_channels, side, side) for side in SIDES]
    if isinstance(layer, nn.Conv1d):
        return [(layer.in_channels, length) for length in LENGTHS]
    if isinstance(layer, nn.Linear):
        return [(layer.in_features,)]
    if isinstance(layer, nn.BatchNorm1d):
        return [(layer.num_features,)]
    return [tuple(layer.normalized_shape)] if isinstance(layer, nn.LayerNorm) else []
