"""Folding an offset into a network, also where it goes on after its head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.data.records import Split
from reclaim.models.classifier import Classifier
from reclaim.models.head import ends_with_head, fold
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["fold_offset"]


def fold_offset(
    mixed: Classifier, offset: LogitOffset, rows: Split, answers: Snapshot, ask: Callable[[Classifier], Snapshot]
) -> tuple[Classifier, float]:
    """The mixture with the offset in its head, and the constant added to the bias.

    Where the network goes on after its head (SqueezeNet's ReLU), a constant on the bias is none on the logits. Then it
    is the largest constant that costs no more held-out seen rows than the offset does: the loss grows with it, so what
    is certified of the offset holds for it too.
    """
    if ends_with_head(mixed, mixed.inputs(rows.read(0))):
        return fold(mixed, offset), offset.offset
    least = _right(replace(answers, logits=offset(answers.logits)))

    def raised(bias: float) -> Classifier:
        return fold(mixed, replace(offset, offset=bias))

    def keeps(bias: float) -> bool:
        return _right(ask(raised(bias))) >= least

    step = max(1.0, abs(offset.offset))
    low, high = -step, step
    while keeps(high) and high < 64 * step:
        low, high = high, 2 * high
    while not keeps(low) and low > -64 * step:
        low, high = 2 * low, low
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return raised(low), low


def _right(rows: Snapshot) -> int:
    """How many rows are right."""
    assert rows.labels is not None
    return int(margins(rows.logits, rows.labels, rows.seen).right.sum())
