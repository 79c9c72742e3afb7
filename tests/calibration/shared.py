"""What several selectors' tests need."""

from dataclasses import replace

from reclaim.calibration.evidence import Evidence
from tests import toys


def lowered(evidence: Evidence, by: float) -> Evidence:
    """The same evidence with the absent logits of the model to repair lowered."""
    changed = {}
    for kind in ("seen", "unlabelled", "source", "labelled"):
        rows = evidence.given()[kind]
        changed[kind] = replace(rows, logits=rows.logits.double() - by * (~rows.seen))
    return replace(evidence, **changed)


def scaled(evidence: Evidence, by: float) -> Evidence:
    """The same evidence with all logits multiplied."""
    changed = {}
    for kind in ("seen", "before", "unlabelled", "source", "labelled"):
        rows = evidence.given()[kind]
        changed[kind] = replace(rows, logits=rows.logits.double() * by)
    return replace(evidence, **changed)


EVIDENCE = toys.evidence()
