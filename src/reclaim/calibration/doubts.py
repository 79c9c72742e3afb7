"""Whether rows may be those that a model was trained on, on which a calibrator would be over-confident."""

from __future__ import annotations

from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["doubts"]


def doubts(rows: Snapshot, held_out: Snapshot | None = None) -> list[str]:
    """Why the rows may be training rows, in sentences: their split's name, and an accuracy above that held out.

    Args:
        rows: with labels.
        held_out: rows that surely are not. Seen accuracy may differ by 0.02 and three standard errors.
    """
    found = []
    if rows.split == "train":
        found.append("these rows are of the split 'train'; a calibrator fitted on training rows is over-confident.")
    if held_out is not None and held_out.labels is not None and rows.labels is not None:
        here = accuracy(rows.logits, rows.labels, rows.seen).seen or 0.0
        there = accuracy(held_out.logits, held_out.labels, held_out.seen).seen or 0.0
        noise = (there * (1 - there) / max(1, len(held_out)) + 0.25 / max(1, len(rows))) ** 0.5
        if here - there > 0.02 + 3 * noise:
            found.append(
                f"these rows look like training rows: seen accuracy is {here:.3f}, but {there:.3f} on held-out ones."
            )
    return found
