"""Imitate rows of absent classes by deleting each row's own class."""

from __future__ import annotations

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.core.arrays import sorted_values
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Steps, best, curve_of

__all__ = ["own_class_left_out"]


def own_class_left_out(evidence: Evidence) -> Selection:
    """Keep held-out rows seen, and send the same rows without their own class to the absent classes.

    γ maximises the share of rows that stay right plus the share of rows, own class deleted, whose largest logit is an
    absent one. The features of seen rows are better than those of absent ones, so it can overshoot.

    Needs: seen.
    Raises: BadInput if only one class is seen.
    Source: Reclaim; the idea of treating seen classes as unseen is that of Chao et al., ECCV 2016.
    """
    rows = evidence.need("seen", by="own-class-left-out")
    if int(rows.seen.sum()) < 2:
        raise BadInput("leaving each row's own class out needs two seen classes; only one is seen.")
    m = margins(rows.logits, rows.known_labels, rows.seen)
    twins = Steps(  # the real rows are seen ones, their twins without the own class are absent ones, all to be won
        lost=sorted_values(m.margin[m.hit]), won=sorted_values(m.left_out), num_seen=len(rows), num_absent=len(rows)
    )
    found = best(curve_of(twins), "balanced")
    return Selection(
        offset=found.offset,
        reason=f"it keeps rows right, and sends rows without their own class to absent ones, {found.value:.1%} of the "
        "time",
        evidence={"seen": len(rows)},
    )
