"""Batches of examples, ready for a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reclaim.data.inputs.protocol import Augment, Inputs, Maker
from reclaim.data.records import Split

__all__ = ["Examples", "batches", "moved", "placed"]


class Examples(Dataset[tuple[Inputs, Tensor]]):
    """A split as a torch dataset: inputs of the network, and labels.

    The randomness of example i depends on `seed` and i alone, whatever order, process or machine asks for it.
    """

    def __init__(self, split: Split, make: Maker, augment: Augment = "none", seed: Sequence[int] = (0,)):
        self.split, self.make, self.augment, self.seed = split, make, augment, tuple(seed)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> tuple[Inputs, Tensor]:
        random = np.random.default_rng([*self.seed, i]) if self.augment != "none" else None
        return self.make(self.split.read(i), self.augment, random), self.split.labels[i]

    def collate(self, examples: Sequence[tuple[Inputs, Tensor]]) -> tuple[Inputs, Tensor]:
        """A batch of examples: inputs [B, …] and labels [B]."""
        return self.make.collate([x for x, _ in examples]), torch.stack([y for _, y in examples])


def batches(split: Split, make: Maker, batch_size: int, workers: int = 0) -> DataLoader[tuple[Inputs, Tensor]]:
    """The split in its own order.

    Raises: BadInput when an example cannot be read, or the examples of a batch differ in shape.
    """
    examples = Examples(split, make)
    return DataLoader(examples, batch_size=batch_size, num_workers=workers, collate_fn=examples.collate)


def placed(x: Inputs, device: torch.device, *, wait: bool = True) -> Inputs:
    """Inputs [B, …] on the device, images with their channels last, which is up to twice as fast.

    Args:
        wait: until they are there. Otherwise what is run there next finds them, and a pinned source must not change.
    """
    if isinstance(x, Tensor):
        layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
        return x.to(device, memory_format=layout, non_blocking=not wait)
    return {name: placed(tensor, device, wait=wait) for name, tensor in x.items()}  # type: ignore[misc]


def moved(x: Inputs, device: torch.device) -> Inputs:
    """Inputs [B, …] on the device, laid out as they are."""
    return x.to(device) if isinstance(x, Tensor) else {name: tensor.to(device) for name, tensor in x.items()}
