"""What a model's own record says of answers that are given only where it is sure."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from reclaim.core.records import read_json, typed
from reclaim.report.card import Answered, answered
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["answered_at", "answered_record"]

STEPS = tuple(step / 100 for step in range(101))  # thresholds that are written down


def answered_record(rows: Snapshot) -> dict[str, Any]:
    """Share and error of answered rows at the thresholds 0, 0.01, … 1, for the record of a run."""
    return {"rows": len(rows), "at": [asdict(one) for one in answered(rows, STEPS)]}


def answered_at(model: str, threshold: float) -> dict[str, Any] | None:
    """What is on record in a model's directory: `rows`, and of the largest threshold that is not above this one
    `threshold`, `share` and `error`; None where nothing is.

    Raises: BadInput if the record is damaged.
    """
    places = [Path(place) / "run.json" for place in (model, model.partition("@")[2]) if place]
    path = next((place for place in places if place.is_file()), None)
    record = read_json(path) if path else None
    if not isinstance(record, dict) or not isinstance(record.get("answered"), dict):
        return None
    found = record["answered"]
    rows = typed(found.get("rows"), int, f"{path}, answered")
    every: list[Answered] = typed(found.get("at"), list[Answered], f"{path}, answered")
    below = [one for one in every if one.threshold <= threshold + 1e-9]
    return {"rows": rows, **asdict(max(below, key=_threshold))} if below else None


def _threshold(one: Answered) -> float:
    return one.threshold
