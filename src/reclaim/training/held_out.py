"""Held-out rows of seen classes, and how a classifier answers them while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from reclaim.core.inference import Inference
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.passes import pass_over
from reclaim.training.borrowed import forked_random
from reclaim.training.budget import Budget

__all__ = ["HeldOut", "held_out_rows"]


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows that a classifier is measured on between epochs.

    Attributes:
        model: the classifier that trains.
        rows: of seen classes alone.
        classes: that compete, the names of the rows' labels.
        budget: says how many rows at a time, and with how many workers.
    """

    model: Classifier
    rows: Split
    classes: tuple[str, ...]
    budget: Budget

    def seen_accuracy(self, accelerator: Accelerator) -> float:
        """The share of the rows that are answered rightly, each of several processes answering some of them.

        Weights, buffers, modes, gradients and the random numbers that follow are as if nothing had been measured.
        """
        share, device = accelerator.num_processes, accelerator.device
        mine = torch.arange(accelerator.process_index, len(self.rows), share)
        rows = self.rows if share == 1 else self.rows.rows(mine)
        right = 0

        def take(first: int, z: Tensor, _: Tensor) -> None:
            nonlocal right
            right += int((z.argmax(dim=1) == rows.labels[first : first + len(z)]).sum())

        inference = Inference(
            batch_size=max(1, self.budget.batch_size // share),
            workers=self.budget.workers,
            device=str(device) if device.type == "cuda" else device.type,
        )
        if len(rows):
            with forked_random(device), _same_buffers(self.model.module):
                pass_over(self.model, rows, self.classes, take, inference, what="held-out rows")
        total = accelerator.reduce(torch.tensor(right, device=device), "sum")
        return int(total) / len(self.rows)


def held_out_rows(model: Classifier, data: Data, budget: Budget) -> HeldOut | None:
    """The validation rows of seen classes; None where there are none. Rows of absent classes are never read."""
    rows = data.seen_only("val") if "val" in data.splits else None
    return HeldOut(model, rows, data.classes, budget) if rows else None


@contextmanager
def _same_buffers(module: nn.Module) -> Iterator[None]:
    """Buffers that a network changes in evaluation too are afterwards as they were."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, was in before:
                buffer.copy_(was)
