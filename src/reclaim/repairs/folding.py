"""Folding an offset into a network, also where it goes on after its head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.core.errors import Argument, BadInput
from reclaim.core.inference import Inference
from reclaim.models.batches import Source, evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.head import first_row, fold, folds_exactly
from reclaim.repairs.mixtures import answered
from reclaim.repairs.rows import Part
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["fold_offset"]

HALVINGS = 8


def fold_offset(
    model: Classifier,
    offset: LogitOffset,
    rows: Part,
    inference: Inference = Inference(),
    source: Source = evaluation_batches,
) -> tuple[Classifier, float]:
    """The classifier with the offset in its head, and the constant that was added to the bias for absent classes.

    Where the network goes on after its head (SqueezeNet's ReLU), a constant on the bias is none on the logits. There
    it is the largest constant that costs no more rows than the offset does. More rows are lost with a larger constant,
    so what is certified of the offset holds for the constant too.

    Args:
        rows: held-out rows of seen classes, those that certify the offset.
        source: where batches come from.

    Raises: BadInput if the head's outputs do not reach the logits.
    """
    if folds_exactly(model, first_row(model, rows.split)):
        return fold(model, offset.affine(model.classes)), offset.offset

    def answers(changed: Classifier, some: Part) -> Snapshot:
        return answered(changed, some, inference, source=source)

    least = _right(answers(model, rows).through(offset))

    def raised(bias: float) -> Classifier:
        return fold(model, replace(offset, offset=bias).affine(model.classes))

    def keeps(bias: float) -> bool:
        return _right(answers(raised(bias), rows)) >= least

    few = rows.rows(torch.arange(min(8, len(rows))))
    if torch.equal(answers(raised(1e3), few).logits, answers(model, few).logits):
        raise BadInput(
            f"no constant on the outputs of the layer {model.head!r} changes a logit, so it is not the head.",
            Argument("head", "name another, or none to have it found"),
        )
    bias = _largest(keeps, step=max(1.0, abs(offset.offset)))
    return raised(bias), bias


def _largest(holds: Callable[[float], bool], step: float) -> float:
    """The largest number, to a 256th of the interval found, up to which `holds` is true; between ±64 steps or so."""
    low, high = -step, step
    while holds(high) and high < 64 * step:
        low, high = high, 2 * high
    while not holds(low) and low > -64 * step:
        low, high = 2 * low, low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _right(rows: Snapshot) -> int:
    """How many rows are right."""
    return int(margins(rows.logits, rows.known_labels, rows.seen).right.sum())
