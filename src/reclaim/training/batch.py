"""A batch of examples, and the two events of training on it: gradients, then a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.checks import check_kind
from reclaim.core.errors import Argument, BadInput
from reclaim.data.inputs.protocol import Inputs
from reclaim.models.forward import logits_in, run
from reclaim.training.engine import Engine

__all__ = ["Batch", "OutOfMemory"]


class OutOfMemory(BadInput):
    """A batch that does not fit into the memory of a device."""


@dataclass(eq=False)
class Batch:
    """One batch of the loop.

    Attributes:
        net: the network, as the loop runs it: on its device, in its precision, beside other processes.
        x: inputs [B, …] on the device, a tensor or a mapping of tensors.
        y: [B] int64 on the device; a classifier's outputs, or what the split has as labels.
        rows: [B] int64, which examples these are of the rows that are trained on; a classifier's are
            ``data.seen_only("train")``.
        number: batches of the run before this one.
        total: batches of the whole budget.
        whole: whether this is the last of the batches whose gradients are added up, so that `step` takes a step.
    """

    net: nn.Module
    x: Inputs
    y: Tensor
    rows: Tensor
    number: int
    total: int
    whole: bool
    engine: Engine = field(repr=False)

    @cached_property
    def answer(self) -> Any:
        """What the network answers to `x`, whatever that is; it runs once, when this is first read.

        Raises: OutOfMemory if the batch does not fit into the device's memory.
        """
        try:
            return run(self.net, self.x)
        except torch.OutOfMemoryError as error:
            raise self.too_large() from error

    @cached_property
    def logits(self) -> Tensor:
        """The logits [B, C] in the network's answer.

        Raises: BadInput if it has none, or the run's first ones are probabilities.
        """
        z = logits_in(self.answer)
        if self.number == 0:
            check_kind(z.detach())
        return z

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients by the parameter's name, as the step takes them; changed in place, the step takes the changed ones.

        They are averaged over the batches that are added up and over processes, and not scaled in half precision.
        Empty while batches are still added up, so that a projection over them then has nothing to do. They stay until
        the next batch, after the step too.
        """
        return self.engine.gradients() if self.whole else {}

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, a mean over the batch.

        Raises: OutOfMemory if the batch does not fit into the device's memory.
        """
        try:
            self.engine.backward(loss)
        except torch.OutOfMemoryError as error:
            raise self.too_large() from error

    def step(self) -> bool:
        """Take a step of the optimizer, once batches enough are added up.

        Returns: whether weights moved. They do not while batches are added up, nor where gradients in half precision
            overflowed.
        Raises: OutOfMemory if the optimizer's state does not fit into the device's memory beside the batch.
        """
        try:
            return self.engine.step() if self.whole else False
        except torch.OutOfMemoryError as error:
            raise self.too_large() from error

    def too_large(self) -> OutOfMemory:
        """The error that says that the batch does not fit, and what to do."""
        rows, added = len(self.y), self.engine.accumulate
        return OutOfMemory(
            f"a batch of {rows} rows does not fit into the memory of {self.engine.device}.\n"
            f"  Half of it, {max(1, rows // 2)}, with {2 * added} batches added up instead of {added}, takes the same "
            "steps, but for batch norm, which sees a batch at a time.",
            Argument("batch_size", "take half of it and add up twice as many"),
            Argument("accumulate"),
        )
