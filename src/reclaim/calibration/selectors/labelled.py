"""The best offset on labelled rows of all classes: a ceiling on the rows it was read from."""

from __future__ import annotations

from typing import Literal

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.core.errors import BadInput
from reclaim.core.numbers import in_range
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Best, Criterion, best, curve_of, steps_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["best_on", "labelled"]


@in_range
def labelled(evidence: Evidence, *, criterion: Literal["overall", "balanced", "harmonic"] = "overall") -> Selection:
    """The offset with the best accuracy on labelled target rows of all classes.

    Args:
        criterion: accuracy over all rows, the mean of seen and absent accuracy, or their harmonic mean.

    Needs: labelled.
    Raises: BadInput without rows of both groups.
    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (γ*).
    """
    rows = evidence.need("labelled", by="labelled")
    found = best_on(rows, criterion)
    return Selection(
        offset=found.offset,
        reason=f"around it {criterion} accuracy is best, {found.value:.3f} on {len(rows)} labelled rows of all classes",
        evidence={"labelled": len(rows)},
        details={"criterion": criterion, "ceiling": found.ceiling, "split": rows.split},
    )


def best_on(rows: Snapshot, criterion: Criterion) -> Best:
    """The best offset on labelled rows, and what it comes to."""
    if rows.labels is None:
        raise BadInput("the best offset on labelled rows needs labels; these rows have none.")
    m = margins(rows.logits, rows.labels, rows.seen)
    for group, word in ((m.is_seen, "seen"), (~m.is_seen, "absent")):
        if not group.any():
            raise BadInput(
                f"none of the {len(rows)} labelled rows belongs to {'a' if word == 'seen' else 'an'} {word} class, so "
                "nothing balances the two groups.\n  Choose with a selector that needs held-out seen rows only, "
                "such as retention-budget."
            )
    return best(curve_of(steps_of(m)), criterion)
