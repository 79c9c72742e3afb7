"""The best selector that the evidence allows."""

from __future__ import annotations

from dataclasses import replace

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.average_logit_gap import average_logit_gap
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.calibration.selectors.labelled import labelled
from reclaim.calibration.selectors.larger_of_two import larger_of_two
from reclaim.calibration.selectors.rate_matching import rate_matching
from reclaim.calibration.selectors.retention_budget import retention_budget, rows_needed
from reclaim.core.numbers import InnerShare, in_range

__all__ = ["auto", "without_budget"]


@in_range
def auto(evidence: Evidence, *, budget: InnerShare = 0.05, confidence: InnerShare | None = None) -> Selection:
    """Choose by the strongest evidence: labelled rows, then unlabelled ones, then held-out rows of seen classes.

    With labelled rows of all classes it is their best offset. Otherwise it is the retention budget, lowered so that the
    certificate holds: to what rate matching asks for where unlabelled target rows are given; else, where the pretrained
    model's answers are, half of the way to the larger of two offsets (`larger_of_two`), because a budget tends to shift
    too much and that offset too little. With too few held-out rows for a certificate it is gap matching, or the average
    logit gap without the pretrained model, and promises nothing.

    Args:
        budget: the seen accuracy that may be lost, between 0 and 1.
        confidence: certify the budget for this share of held-out sets instead of on average.

    Needs: seen, or labelled; the rest is optional.
    Source: Reclaim.
    """
    if evidence.labelled is not None:
        return _named("labelled", labelled(evidence))
    rows = evidence.need("seen", by="auto")
    if rows.units < (needed := rows_needed(evidence, budget, confidence)):
        units = "rows" if rows.groups is None else "groups of rows"
        few = f"because {rows.units} held-out {units} cannot certify a budget and {needed} are needed"
        if evidence.before is not None:
            return _named(f"gap-matching, {few}", gap_matching(evidence))
        return _named(f"average-logit-gap, {few}", average_logit_gap(evidence))
    certified = retention_budget(evidence, budget=budget, confidence=confidence)
    if evidence.unlabelled is not None:
        how, wanted = "rate-matching within the budget", rate_matching(evidence)
        unlimited = wanted.offset
    elif evidence.before is not None and int(rows.seen.sum()) > 1:
        how, wanted = "midway from larger-of-two to the budget", larger_of_two(evidence)
        unlimited, middle = wanted.offset, (wanted.offset + certified.offset) / 2
        reason = f"{middle:.2f} is midway between {wanted.offset:.2f} and the budget's {certified.offset:.2f}"
        wanted = replace(wanted, offset=middle, reason=f"{reason}; {wanted.reason}")
    else:
        return _named("retention-budget", certified)
    if wanted.offset >= certified.offset:
        return _named("retention-budget", replace(certified, details=certified.details | {"unlimited": unlimited}))
    read = wanted.evidence | certified.evidence
    offset = max(evidence.least, wanted.offset)
    details = wanted.details | {"unlimited": unlimited}
    return _named(how, replace(wanted, offset=offset, evidence=read, guarantee=certified.guarantee, details=details))


def without_budget(evidence: Evidence) -> str:
    """The name of the selector that is best where no budget limits the offset.

    With labelled rows of all classes it is their best offset, with unlabelled target rows rate matching, otherwise
    the larger of two offsets; or the average logit gap, without the pretrained model or with one seen class.
    """
    if evidence.labelled is not None:
        return "labelled"
    if evidence.unlabelled is not None:
        return "rate-matching"
    rows = evidence.need("seen", by="auto")
    return "larger-of-two" if evidence.before is not None and int(rows.seen.sum()) > 1 else "average-logit-gap"


def _named(how: str, chosen: Selection) -> Selection:
    return replace(chosen, reason=f"{how}: {chosen.reason}")
