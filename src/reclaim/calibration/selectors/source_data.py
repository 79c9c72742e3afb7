"""The best offset on the data the model was pretrained on."""

from __future__ import annotations

from typing import Literal

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.labelled import best_on
from reclaim.core.numbers import in_range

__all__ = ["source_data"]


@in_range
def source_data(evidence: Evidence, *, criterion: Literal["overall", "balanced", "harmonic"] = "balanced") -> Selection:
    """The offset with the best accuracy on labelled rows of all classes from the pretraining domain.

    It trusts that seen and absent logits drift apart in the pretraining domain as much as in the target domain.

    Args:
        criterion: accuracy over all rows, the mean of seen and absent accuracy, or their harmonic mean.

    Needs: source.
    Source: Reclaim.
    """
    rows = evidence.need("source", by="source-data")
    found = best_on(rows, criterion)
    reason = f"around it {criterion} accuracy is best, {found.value:.3f} on {len(rows)} rows of the pretraining domain"
    return Selection(found.offset, reason, evidence={"source": len(rows)}, details={"criterion": criterion})
