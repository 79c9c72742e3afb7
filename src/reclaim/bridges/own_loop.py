"""Fine-tuning in a loop that is not Reclaim's: what it starts from, what stays, what it measures, and its repair."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from reclaim.core.errors import BadInput
from reclaim.data.given import seen_names
from reclaim.data.inputs.protocol import Inputs
from reclaim.models.adapters import Form, is_adapted, put_into
from reclaim.models.tracing import check_head, trace_head
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from reclaim.repairs.modules import AnyData, Seen
from reclaim.repairs.result import Repair
from reclaim.training.projections import keep_absent_rows

__all__ = ["Measured", "OwnLoop"]

log = logging.getLogger(__name__)

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Measured:
    """Accuracies of one evaluation, all classes competing.

    Attributes:
        step: after how many steps.
        seen, absent: of rows of seen and of absent classes; None where there was no labelled row of that group.
    """

    step: int
    seen: float | None
    absent: float | None

    def record(self, prefix: str = "") -> dict[str, float | str]:
        """Both by name; what was not measured says so."""
        groups = {"seen_accuracy": self.seen, "absent_accuracy": self.absent}
        return {prefix + name: NOT_MEASURED if value is None else value for name, value in groups.items()}


class OwnLoop:
    """Somebody's own loop over a network: made before training, asked during it, and ended with a repaired network.

    ``loop = OwnLoop(network, seen=[0, 2]); loop.begin(x, optimizer)``; then the training; then ``loop.end(data)``.

    Args:
        network: the pretrained network, which is about to be fine-tuned in place; a copy of it is kept. One that peft
            has wrapped is the pretrained one with its adapter off.
        seen: the classes that the fine-tuning has, as names or as indices.
        classes: the names of the network's outputs; by default their indices.
        choices: what the repair is told.
        head: the dotted name of the head; traced on the first inputs by default.
        result: as in `repair`, of a network with an adapter.
    """

    def __init__(
        self,
        network: nn.Module,
        seen: Seen,
        *,
        classes: Sequence[str] = (),
        choices: Choices = Choices(),
        head: str | None = None,
        result: Form | None = None,
    ) -> None:
        self.network, self.classes, self.choices, self.result = network, tuple(classes), choices, result
        self.given = None if seen is None else list(seen)
        self.start = copy.deepcopy(network)
        self.head = None if head is None else check_head(network, head)
        self.seen: Tensor | None = None
        self.history: list[Measured] = []
        self.repaired: Repair[Any] | None = None
        self.forget()

    def begin(self, x: Inputs, *optimizers: Optimizer) -> None:
        """Find the head on inputs x [B, …], and let the optimizers' steps leave its rows of absent classes."""
        self.head = self.head or trace_head(self.network, x)
        layer: Any = self.network.get_submodule(self.head)
        names = self.classes or tuple(str(i) for i in range(len(layer.weight)))
        if len(names) != len(layer.weight):
            raise BadInput(
                f"{len(names)} class names were given, and the head {self.head!r} answers {len(layer.weight)}."
            )
        shown = set(seen_names(self.given, names))
        if strangers := shown - set(names):
            raise BadInput(f"`seen` names classes that the network has not: {', '.join(sorted(strangers))}.")
        self.seen = torch.tensor([name in shown for name in names])
        if self.head.endswith(".base_layer"):
            log.warning("the head %s has an adapter itself, so its rows of absent classes cannot be kept.", self.head)
            return
        for optimizer in optimizers:
            keep_absent_rows(_inner(optimizer), layer, self.seen)

    def count(self, logits: Tensor, labels: Tensor) -> None:
        """Count the rows of a batch of an evaluation that are right, by group: logits [B, C], labels [B]."""
        if self.seen is None or logits.ndim != 2 or labels.shape != logits.shape[:1]:
            return
        known = (labels >= 0).cpu()
        labels = labels.cpu()[known]
        right, seen = logits.argmax(dim=1).cpu()[known] == labels, self.seen[labels]
        for group, rows in (("seen", seen), ("absent", ~seen)):
            self.rows[group] += int(rows.sum())
            self.right[group] += int(right[rows].sum())

    def forget(self) -> None:
        """Count from zero."""
        self.rows, self.right = {"seen": 0, "absent": 0}, {"seen": 0, "absent": 0}

    def measured(self, step: int) -> Measured:
        """What was counted since the last time, which is kept in `history`."""
        found = {group: self.right[group] / rows if rows else None for group, rows in self.rows.items()}
        self.history.append(Measured(step, **found))
        self.forget()
        return self.history[-1]

    def end(self, data: AnyData, *, replace: bool = True) -> Repair[Any]:
        """Repair the network by held-out rows, as `repair` does, and give it the repaired weights.

        Args:
            data: a loader, or inputs and labels: held-out rows of seen classes choose; without one of an absent class
                nothing is reported of these.
            replace: False leaves the network as it was trained; the repaired one is `repaired.model`.
        """
        after = copy.deepcopy(self.start)  # a copy of the network itself might bring the whole trainer along
        after.load_state_dict(self.network.state_dict())
        before = after if is_adapted(after) else self.start
        done: Repair[Any] = repair(
            before, after, data, self.choices, seen=self.given, classes=self.classes, result=self.result
        )
        self.repaired = done
        if replace:
            _put_into(self.network, done.model, self.head or "")
        return done


def _inner(optimizer: Optimizer) -> Optimizer:
    """The optimizer whose steps count, where Accelerate has wrapped it."""
    return optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer


def _put_into(network: nn.Module, repaired: nn.Module, head: str) -> None:
    """Give a network in training the repaired weights; a bias that its head lacks is added."""
    if is_adapted(network):
        if not put_into(network, repaired):
            log.warning("the network keeps its adapter as it was trained; the repaired one is `repaired.model`.")
        return
    layer: Any = network.get_submodule(head)
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros_like(layer.weight[(slice(None), *[0] * (layer.weight.ndim - 1))]))
    network.load_state_dict(repaired.state_dict())
