"""Batches of examples, ready for a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Augment, Preprocess
from reclaim.data.records import Split

__all__ = ["Examples", "batches", "collate", "placed"]


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """A split as a torch dataset: inputs of the network, and labels.

    The randomness of example i depends on `seed` and i alone, whatever order, process or machine asks for it.
    """

    def __init__(self, split: Split, preprocess: Preprocess, augment: Augment = "none", seed: Sequence[int] = (0,)):
        self.split, self.preprocess, self.augment, self.seed = split, preprocess, augment, tuple(seed)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng([*self.seed, i]) if self.augment != "none" else None
        return self.preprocess(self.split.read(i), self.augment, random), self.split.labels[i]


def batches(
    split: Split, preprocess: Preprocess, batch_size: int, workers: int = 0
) -> DataLoader[tuple[Tensor, Tensor]]:
    """The split in its own order.

    Raises: BadInput when an example cannot be read, or the examples of a batch differ in shape.
    """
    return DataLoader(Examples(split, preprocess), batch_size=batch_size, num_workers=workers, collate_fn=collate)


def placed(x: Tensor, device: torch.device) -> Tensor:
    """Inputs [B, …] on the device, images with their channels last, which is up to twice as fast."""
    return x.to(device, memory_format=torch.channels_last if x.ndim == 4 else torch.contiguous_format)


def collate(examples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stack examples, which must have one shape."""
    shapes = {tuple(x.shape) for x, _ in examples}
    if len(shapes) > 1:
        raise BadInput(f"the inputs differ in shape: {sorted(shapes)}. Bring images to one size: --image-size PIXELS.")
    return torch.stack([x for x, _ in examples]), torch.stack([y for _, y in examples])
