"""What a repair did, in sentences."""

from __future__ import annotations

from collections.abc import Iterable

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.mixing import Mix
from reclaim.snapshots.metrics.accuracy import wilson_interval
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["told"]


def told(
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
