"""What a repair did, in sentences."""

from __future__ import annotations

from collections.abc import Iterable

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.repairs.alpha import Mix
from reclaim.repairs.answers import AnswersRepair
from reclaim.repairs.models import Repair
from reclaim.snapshots.metrics.accuracy import wilson_interval
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["answers_story", "story"]


def story(result: Repair) -> list[tuple[str, str]]:
    """What was done, in sentences with a heading each."""
    back, more = f"{1 - result.mix.weight:.0%} of the way back to the pretrained weights", []
    if result.bias != result.offset.offset:
        instead = (
            f"{result.bias:.2f} was added to the bias of its last layer instead, which costs as many held-out rows"
        )
        more.append(("In the model", f"the network goes on after its last layer, so {instead}."))
    return _told(back, result.mix, result.offset, result.repaired, more)


def answers_story(result: AnswersRepair) -> list[tuple[str, str]]:
    """What was done, in sentences with a heading each."""
    share = f"{1 - result.mix.weight:.0%} of the logarithmic probabilities are the pretrained model's"
    return _told(share, result.mix, result.offset, result.repaired)


def _told(
    mixing: str, mix: Mix, offset: LogitOffset, rows: Snapshot, more: Iterable[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Sentences with a heading each.

    Args:
        mixing: what was mixed, and how far; the reason is that of `mix`.
        rows: those that report.
        more: what else there is to say of the repaired model.
    """
    lines = [
        ("Mixing", f"{mixing}: {mix.reason}."),
        (
            "Offset",
            f"{offset.offset:.2f} added to the logits of absent classes, by {offset.selector}: {offset.reason}.",
        ),
        *_shifts(offset),
        ("Guarantee", f"{offset.guarantee}." if offset.guarantee else "none."),
        *more,
    ]
    if rows.labels is not None and bool(rows.seen[rows.labels].all()):
        limits = "no row of an absent class was given, so the absent accuracy cannot be measured, only estimated"
        if mix.taken and mix.estimated:
            low, high = wilson_interval(mix.taken.absent, mix.rows)
            limits += (
                f": {mix.taken.absent:.1%} (95 % interval {low:.1%} to {high:.1%}, "
                "if absent classes were as well known as seen ones before fine-tuning)"
            )
        lines.append(("Limits", f"{limits}."))
    return lines


def _shifts(offset: LogitOffset) -> list[tuple[str, str]]:
    """What was done to single classes, if anything."""
    if not any(offset.shifts):
        return []
    moved = sorted(zip(offset.shifts, offset.classes, strict=True))
    (least, low), (most, high) = moved[0], moved[-1]
    return [
        (
            "Classes",
            f"their logits are shifted too, from {least:+.2f} ({low}) to {most:+.2f} ({high}), towards being answered "
            "as often as they should.",
        )
    ]
