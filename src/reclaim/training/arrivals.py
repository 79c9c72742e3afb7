"""How batches of examples come to the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reclaim.core.compat import leaves
from reclaim.data.inputs.protocol import Inputs, Maker
from reclaim.data.loader import Examples, placed
from reclaim.data.records import Split
from reclaim.training.budget import Budget

__all__ = ["Placed", "arrivals"]

Placed: TypeAlias = tuple[Inputs, Tensor, Tensor]  # inputs [B, …] and labels [B] on the device, rows [B] on the CPU
Made: TypeAlias = tuple[Inputs, Tensor]  # the first two
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

    loader = DataLoader(
        _Drawn(rows, make, budget),
        batch_size=None,
        sampler=noted(),
        num_workers=budget.workers,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
    )
    for x, y in beside(loader, device) if device.type == "cuda" else loader:
        yield placed(x, device), y.to(device), ahead.popleft()


def beside(batches: Iterable[Made], device: torch.device) -> Iterator[Made]:
    """The batches on the GPU, each copied from pinned memory in a stream of its own."""
    stream = torch.cuda.Stream(device)
    for x, y in batches:
        with torch.cuda.stream(stream):
            here = placed(x, device, wait=False), y.to(device, non_blocking=True)
        now = torch.cuda.current_stream(device)
        now.wait_stream(stream)
        for tensor in leaves(here):
            tensor.record_stream(now)  # its memory is not used again before what runs there now is done
        yield here


class _Drawn(Dataset[Made]):
    """Whole batches by their epoch and rows."""

    def __init__(self, rows: Split, make: Maker, budget: Budget) -> None:
        self.rows, self.make, self.budget = rows, make, budget

    def __getitem__(self, part: Part) -> Made:
        epoch, rows = part
        examples = Examples(self.rows, self.make, self.budget.augment, (self.budget.seed, epoch))
        return examples.collate([examples[i] for i in rows])


def _as_it_is(batch: Any) -> Any:
    return batch
