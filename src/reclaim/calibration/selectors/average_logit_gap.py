"""ALG: how much higher the wrong seen logits stand than the absent ones."""

from __future__ import annotations

import torch
from torch import Tensor

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.core.arrays import row_blocks
from reclaim.core.errors import BadInput
from reclaim.snapshots.shards import by_rows

__all__ = ["average_logit_gap", "mean_gap"]


def average_logit_gap(evidence: Evidence) -> Selection:
    """Close the average gap between the logits of the other seen classes and those of the absent classes.

    γ = mean over rows of [ mean of z_c over seen c ≠ y  -  mean of z_c over absent c ].

    Needs: seen. Held-out rows are better than training rows, whose seen logits are inflated.
    Raises: BadInput if only one class is seen.
    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (average logit gap).
    Differs: reads rows of seen classes only, as the paper says; the released code averages over whatever rows it is
        given, evaluation rows of absent classes with their labels included.
    """
    rows = evidence.need("seen", by="average-logit-gap")
    gap = mean_gap(rows.logits, rows.known_labels, rows.seen)
    return Selection(
        offset=gap,
        reason=f"on {len(rows)} held-out rows the other seen logits stand {gap:.2f} above the absent ones on average",
        evidence={"seen": len(rows)},
    )


def mean_gap(logits: Tensor, labels: Tensor, seen: Tensor, *, without_own: bool = True) -> float:
    """Mean over rows [N] of (mean seen logit - mean absent logit), the label's own logit left out of the seen ones."""
    if without_own and int(seen.sum()) < 2:
        raise BadInput("the gap between wrong seen logits and absent ones needs two seen classes; only one is seen.")
    dtype, num_seen = torch.promote_types(logits.dtype, torch.float32), int(seen.sum())
    weights = torch.stack([seen, ~seen], dim=1).to(logits.device, dtype)

    def gaps(rows: Tensor, own: Tensor) -> tuple[Tensor]:
        made = rows.new_empty(len(rows), dtype=torch.float64)
        for block in row_blocks(rows):
            z = rows[block].to(dtype)
            seen_sum, absent_sum = (z @ weights).double().T
            if without_own:
                seen_sum = seen_sum - z.gather(1, own[block, None]).squeeze(1).double()
            made[block] = seen_sum / (num_seen - without_own) - absent_sum / (len(seen) - num_seen)
        return (made,)

    return float(by_rows(gaps, logits, labels)[0].mean())
