"""The best selector that the evidence allows."""

from __future__ import annotations

from dataclasses import replace

from reclaim.selectors import Evidence, Selection
from reclaim.selectors.average_logit_gap import average_logit_gap
from reclaim.selectors.gap_matching import gap_matching
from reclaim.selectors.labelled import labelled
from reclaim.selectors.rate_matching import rate_matching
from reclaim.selectors.retention_budget import retention_budget, rows_needed

__all__ = ["auto"]


def auto(evidence: Evidence, *, budget: float = 0.05, confidence: float | None = None) -> Selection:
    """Choose by the strongest evidence: labelled rows, then unlabelled ones, then held-out rows of seen classes.

    With labelled rows of all classes it is their best offset. Otherwise it is the retention budget, lowered to what
    rate matching asks for where unlabelled target rows are given, so that the certificate holds. With too few held-out
    rows for a certificate it is gap matching, or the average logit gap without the pretrained model, and promises
    nothing.

    Args:
        budget: the seen accuracy that may be lost, between 0 and 1.
        confidence: certify the budget for this share of held-out sets instead of on average.

    Needs: seen, or labelled; the rest is optional.
    Source: Reclaim.
    """
    if evidence.labelled is not None:
        return _named("labelled", labelled(evidence))
    rows = evidence.need("seen", by="auto")
    if len(rows) < (needed := rows_needed(evidence, budget, confidence)):
        few = f"because {len(rows)} held-out rows cannot certify a budget and {needed} are needed"
        if evidence.before is not None:
            return _named(f"gap-matching, {few}", gap_matching(evidence))
        return _named(f"average-logit-gap, {few}", average_logit_gap(evidence))
    certified = retention_budget(evidence, budget=budget, confidence=confidence)
    if evidence.unlabelled is not None:
        wanted = rate_matching(evidence)
        if 0 < wanted.offset < certified.offset:
            return _named(
                "rate-matching within the budget",
                replace(wanted, evidence=wanted.evidence | certified.evidence, guarantee=certified.guarantee),
            )
    return _named("retention-budget", certified)


def _named(how: str, chosen: Selection) -> Selection:
    return replace(chosen, reason=f"{how}: {chosen.reason}")
