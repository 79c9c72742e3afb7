"""Are absent classes merely outvoted?"""

from __future__ import annotations

from reclaim.report.finding import Evidence, Finding, change
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import best, curve_of, steps_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["logit_gap"]


def logit_gap(before: Snapshot, after: Snapshot) -> Finding:
    """Are absent classes merely outvoted by the seen ones?

    Value: the growth of the share of absent rows that are right among absent classes but lose to a seen one. That is
    what an offset can bring back.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; the routing loss is Reclaim's.
    """
    question = "Are absent classes merely outvoted by the seen ones?"
    if bool(after.seen.all()) or not bool(after.seen.any()):
        return Finding(question, None, False, "Not measured: it takes seen and absent classes.")
    then, now = (margins(rows.logits, rows.known_labels, rows.seen) for rows in (before, after))
    absent = ~now.is_seen
    if not absent.any() or not now.is_seen.any():
        pull = change(then.margin, now.margin)
        verdict = (
            f"The largest seen logit stands {pull.after:.2f} above the largest absent one; before fine-tuning it was "
            f"{pull.before:.2f}. Rows of both groups are needed to say what that costs."
        )
        evidence: Evidence = {"margin_before": pull.before, "margin_after": pull.after, "rows": len(absent)}
        return pull.answers(question, pull.rose(), verdict, evidence)
    outvoted = change((then.hit & ~then.right)[absent], (now.hit & ~now.right)[absent])
    top = best(curve_of(steps_of(now)))
    right = float(now.right.double().mean())
    if outvoted.rose():
        verdict = (
            f"Yes. {outvoted.after:.1%} of the absent rows are recognised among absent classes but lose to a seen "
            f"class; before fine-tuning it was {outvoted.before:.1%}. The best single offset would lift accuracy over "
            f"all classes from {right:.1%} to {top.ceiling:.1%} on these rows."
        )
    else:
        verdict = (
            f"No. {outvoted.after:.1%} of the absent rows lose to a seen class although they are recognised among "
            f"absent classes, against {outvoted.before:.1%} before fine-tuning."
        )
    evidence = {
        "outvoted_before": outvoted.before,
        "outvoted_after": outvoted.after,
        "standard_error": outvoted.error,
        "best_offset": top.offset,
        "accuracy": right,
        "accuracy_at_best_offset": top.ceiling,
        "absent_rows": int(absent.sum()),
    }
    return outvoted.answers(question, outvoted.rose(), verdict, evidence)
