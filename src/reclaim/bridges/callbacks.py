"""Callbacks for other people's trainers; each library is imported when its callback is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from reclaim.bridges.own_loop import OwnLoop
from reclaim.core.extras import require
from reclaim.models.adapters import Form
from reclaim.repairs.choices import Choices
from reclaim.repairs.modules import AnyData, Seen

__all__ = ["lightning_callback", "trainer_callback"]


def trainer_callback(
    model: nn.Module,
    seen: Seen,
    data: AnyData | None = None,
    *,
    classes: Sequence[str] = (),
    choices: Choices = Choices(),
    head: str | None = None,
    result: Form | None = None,
    replace: bool = True,
) -> Any:
    """A callback for transformers' Trainer that keeps absent rows, measures both groups, and ends with a repair.

    ``Trainer(model, …, callbacks=[trainer_callback(model, seen=[0, 2])])``. It is made before training begins, also
    where a run goes on from a checkpoint: the pretrained model is what `model` is now. Accuracies of seen and of absent
    classes are added to what every evaluation logs (``eval_seen_accuracy``), from the answers that it computes anyway;
    a group without a labelled row is "not measured". At the end `callback.repaired` is the `Repair`, and the trainer's
    model has its weights.

    Args:
        model: the one that the trainer trains.
        data: a loader, or inputs and labels, by which it is repaired; by default the rows of the last evaluation.
        seen, classes, choices, head, result: as in `OwnLoop`.
        replace: False leaves the trainer's model as it was trained.

    Raises: BadInput if transformers is not installed.
    """
    require("transformers", extra="transformers")
    from reclaim.bridges.trainer import TrainerEvents

    loop = OwnLoop(model, seen, classes=classes, choices=choices, head=head, result=result)
    return TrainerEvents(loop, data, replace=replace)


def lightning_callback(
    network: nn.Module,
    seen: Seen,
    data: AnyData | None = None,
    *,
    classes: Sequence[str] = (),
    choices: Choices = Choices(),
    head: str | None = None,
    result: Form | None = None,
    replace: bool = True,
) -> Any:
    """A callback for Lightning that keeps absent rows, measures both groups, and ends with a repair.

    ``Trainer(callbacks=[lightning_callback(module.network, seen=[0, 2])])``. It is made before training begins. In each
    validation it logs ``val_seen_accuracy`` and ``val_absent_accuracy``, from the answers that are computed anyway; a
    group without a labelled row is not logged, and `callback.history` says "not measured". At the end
    `callback.repaired` is the `Repair`, and the network has its weights.

    Args:
        network: what answers logits inside the LightningModule.
        data: a loader, or inputs and labels, by which it is repaired; by default the validation loader's.
        seen, classes, choices, head, result: as in `OwnLoop`.
        replace: False leaves the network as it was trained.

    Raises: BadInput if lightning is not installed.
    """
    require("lightning.pytorch", extra="lightning")
    from reclaim.bridges.lightning import LightningEvents

    loop = OwnLoop(network, seen, classes=classes, choices=choices, head=head, result=result)
    return LightningEvents(loop, data, replace=replace)
