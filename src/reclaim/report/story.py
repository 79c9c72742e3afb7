"""What a repair did, in sentences."""

from __future__ import annotations

from typing import Any

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.core.errors import few
from reclaim.repairs.mixtures import OutputMixture
from reclaim.repairs.result import Repair
from reclaim.snapshots.metrics.accuracy import wilson_interval

__all__ = ["Sentence", "sentences"]

Sentence = tuple[str, str]  # a heading, and what was done


def sentences(repair: Repair[Any]) -> list[Sentence]:
    """What was done, in sentences with a heading each."""
    offset = repair.offset
    return [
        *_heads(repair),
        ("Mixing", f"{_mixing(repair)}: {repair.mix.reason}."),
        (
            "Offset",
            f"{offset.offset:.2f} added to the logits of absent classes, by {offset.selector}: {offset.reason}.",
        ),
        *_shifts(offset),
        ("Guarantee", f"{offset.guarantee}." if offset.guarantee else "none."),
        *_bias(repair),
        *_limits(repair),
    ]


def _heads(repair: Repair[Any]) -> list[Sentence]:
    """How two heads over other classes became one, if they are such."""
    if (made := repair.stitch) is None:
        return []
    new = f", {len(made.new)} of them new ({few(made.new)})" if made.new else ""
    return [
        (
            "Heads",
            f"{len(made.tuned)} classes have the fine-tuned model's row{new}, {made.absent} absent ones the pretrained "
            f"model's; the former are multiplied by {made.scale:.3g}, so that on the same rows both spread alike.",
        )
    ]


def _mixing(repair: Repair[Any]) -> str:
    """What was mixed, and how far."""
    back = f"{1 - repair.alpha:.0%}"
    if isinstance(repair.model, OutputMixture):
        return f"{back} of the logarithmic probabilities are the pretrained model's"
    return f"{back} of the way back to the pretrained weights"


def _shifts(offset: LogitOffset) -> list[Sentence]:
    """What was done to single classes, if anything."""
    if not any(offset.shifts):
        return []
    moved = sorted(zip(offset.shifts, offset.fitted.classes, strict=True))
    (least, low), (most, high) = moved[0], moved[-1]
    towards = "towards being answered as often as they should"
    return [("Classes", f"their logits are shifted too, from {least:+.2f} ({low}) to {most:+.2f} ({high}), {towards}.")]


def _bias(repair: Repair[Any]) -> list[Sentence]:
    """What was added to the head's bias, if it is not the offset."""
    if repair.bias is None or repair.bias == repair.offset.offset:
        return []
    instead = f"{repair.bias:.2f} was added to the bias of its last layer instead, which costs as many held-out rows"
    return [("In the model", f"the network goes on after its last layer, so {instead}.")]


def _limits(repair: Repair[Any]) -> list[Sentence]:
    """What cannot be measured without report rows of absent classes."""
    rows, mix = repair.repaired, repair.mix
    if rows.labels is None or not bool(rows.seen[rows.labels].all()):
        return []
    limits = "no row of an absent class was given, so the absent accuracy cannot be measured, only estimated"
    if mix.taken and mix.estimated:
        low, high = wilson_interval(mix.taken.absent, mix.groups or mix.rows)
        limits += (
            f": {mix.taken.absent:.1%} (95 % interval {low:.1%} to {high:.1%}, "
            "if absent classes were as well known as seen ones before fine-tuning)"
        )
    return [("Limits", f"{limits}.")]
