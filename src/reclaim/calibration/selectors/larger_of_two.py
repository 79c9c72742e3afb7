"""The larger of two offsets that both trust the balance of the pretrained model."""

from __future__ import annotations

from dataclasses import replace

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.calibration.selectors.pseudo_absent import pseudo_absent

__all__ = ["larger_of_two"]

FORMERLY = {"larger-of-two": "bolder"}


def larger_of_two(evidence: Evidence) -> Selection:
    """Gap matching or the best offset for pseudo-absent rows, whichever is larger.

    Both err on the low side more often than on the high one, for the rows they read are of classes that fine-tuning
    has learned; docs/repair.md has the figures.

    Needs: seen, before.
    Raises: BadInput if only one class is seen.
    Source: Reclaim.
    """
    rows, _ = evidence.need("seen", by="larger-of-two"), evidence.need("before", by="larger-of-two")
    matched, imitated = gap_matching(evidence), pseudo_absent(evidence)
    return replace(
        max(matched, imitated, key=lambda chosen: chosen.offset),
        reason=f"of two offsets it is the larger one: on {len(rows)} held-out rows {matched.offset:.2f} matches the "
        f"pretrained gap between seen and absent logits, and {imitated.offset:.2f} is best for pseudo-absent rows",
        details={"gap_matching": matched.offset, "pseudo_absent": imitated.offset},
    )
