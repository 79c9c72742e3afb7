"""Give the fine-tuned model the gap between seen and absent logits that the pretrained model had."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.average_logit_gap import mean_gap
from reclaim.core.arrays import row_blocks
from reclaim.core.numbers import in_range
from reclaim.snapshots.metrics.margins import group_bests
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["gap_matching"]


@in_range
def gap_matching(
    evidence: Evidence,
    *,
    form: Literal["logsumexp", "max", "mean"] = "logsumexp",
    without_own: bool = True,
) -> Selection:
    """Restore the pretrained model's average gap between the seen and the absent logits.

    γ = gap(after) - gap(before), both on the same rows, of which 3,072 are enough. It trusts the balance that the
    pretrained model had.

    Args:
        form: how a group's logits become one number.
        without_own: leave the row's own class out of the seen group, so that the row resembles one of another class.

    Needs: seen, before.
    Source: Reclaim.
    """
    after, before = evidence.need("seen", by="gap-matching"), evidence.need("before", by="gap-matching")
    now, then = (_gap(rows.thinned(), form, without_own) for rows in (after, before))
    return Selection(
        offset=now - then,
        reason=f"the gap between seen and absent logits ({form}) was {then:.2f} before fine-tuning, is {now:.2f} now",
        evidence={"seen": len(after), "before": len(before)},
        details={"gap_before": then, "gap_after": now},
    )


def _gap(rows: Snapshot, form: str, without_own: bool) -> float:
    if form == "mean":
        return mean_gap(rows.logits, rows.known_labels, rows.seen, without_own=without_own)
    total = 0.0
    for block in row_blocks(rows.logits):
        z = rows.logits[block].to(torch.promote_types(rows.logits.dtype, torch.float32))
        if without_own:
            z = z.scatter(1, rows.known_labels[block, None], -torch.inf)  # labels are seen: only the seen group changes
        total += float(_group_difference(z, rows.seen, form).double().sum())
    return total / len(rows)


def _group_difference(z: Tensor, seen: Tensor, form: str) -> Tensor:
    if form == "max":
        best_seen, best_absent = group_bests(z, seen)
        return best_seen - best_absent
    return z[:, seen].logsumexp(dim=1) - z[:, ~seen].logsumexp(dim=1)
