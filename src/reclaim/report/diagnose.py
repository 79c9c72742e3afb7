"""Asking every question of the folder `diagnoses`."""

from __future__ import annotations

import logging

import torch

from reclaim.calibration.same_rows import check_same_rows
from reclaim.core.arrays import check_one_place
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.report.finding import Finding
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["diagnose"]

log = logging.getLogger(__name__)


def diagnose(before: Snapshot, after: Snapshot) -> list[Finding]:
    """Ask every question of the folder, with the classes of `before` in the order of those of `after`.

    Raises: BadInput unless both snapshots hold the same labelled rows and classes, on one device.
    """
    check_one_place({"before": before.logits, "after": after.logits})
    before = before.reordered(after.classes)
    if before.model_identity and before.model_identity == after.model_identity:
        log.warning(
            "both snapshots are of the same model (weights %s): nothing can have changed.", after.model_identity
        )
    if not torch.equal(before.seen, after.seen):
        raise BadInput("the two snapshots are about different classes, or different seen ones.")
    if before.labels is None or after.labels is None:
        raise BadInput("a diagnosis needs labelled rows; a snapshot has none.")
    check_same_rows(before, after, "the two snapshots")
    if not len(after):
        raise BadInput("a diagnosis needs rows; the snapshots have none.")
    return [find("diagnoses", name)(before, after) for name in names("diagnoses")]
