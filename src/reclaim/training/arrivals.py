"""How batches of examples come to the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset

from reclaim.core.errors import BadInput, BadKind
from reclaim.data.inputs.protocol import Inputs, Maker, tensors_in
from reclaim.data.loader import Batch, Examples, arriving, batches_of, placed
from reclaim.data.records import Split
from reclaim.data.workers import default_workers
from reclaim.training.budget import Budget

__all__ = ["Placed", "arrivals"]

Placed: TypeAlias = tuple[Inputs, Tensor, Tensor]  # inputs [B, …] and labels [B] on the device, rows [B] on the CPU
Part: TypeAlias = tuple[int, list[int]]  # an epoch, and rows of it


def arrivals(
    rows: Split, make: Maker, budget: Budget, parts: Iterable[tuple[int, Tensor]], device: torch.device
) -> Iterator[Placed]:
    """The batches of these parts, an epoch and rows of it each, on the device.

    One loader reads all of them, so that no epoch begins by waiting for its first batch. On a GPU a batch is copied
    beside what is computed there, and nothing waits for the copy but what uses it.
    """
    ahead: deque[Tensor] = deque()  # rows of the batches that are being made

    def noted() -> Iterator[Part]:
        for epoch, part in parts:
            ahead.append(part)
            yield epoch, part.tolist()

    on_gpu = device.type == "cuda"
    workers = budget.workers
    if workers is None:
        workers = default_workers(rows, make, budget.batch_size, on_gpu=device.type != "cpu")
    pinned = on_gpu and all(tensor.device.type == "cpu" for tensor in tensors_in(make(rows.read(0))))
    made = batches_of(_Drawn(rows, make, budget), workers, sampler=noted(), pinned=pinned)
    for x, y in arriving(made, device):
        yield placed(x, device), y.to(device), ahead.popleft()


class _Drawn(Dataset[Batch | BadInput | BadKind]):
    """Whole batches by their epoch and rows; what is wrong with one comes back as an error."""

    def __init__(self, rows: Split, make: Maker, budget: Budget) -> None:
        self.rows, self.make, self.budget = rows, make, budget

    def __getitem__(self, part: Part) -> Batch | BadInput | BadKind:
        epoch, rows = part
        examples = Examples(self.rows, self.make, self.budget.augment, (self.budget.seed, epoch))
        try:
            return examples.collate([examples[i] for i in rows])
        except (BadInput, BadKind) as error:
            return error
