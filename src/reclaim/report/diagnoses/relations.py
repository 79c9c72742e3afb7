"""Are absent classes still told apart among themselves?"""

from __future__ import annotations

import torch
from torch import Tensor

from reclaim.report.finding import Finding, change
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["rank_correlation", "relations"]


def relations(before: Snapshot, after: Snapshot) -> Finding:
    """Are absent classes still told apart among themselves?

    Value: the change of accuracy on absent rows when only absent classes compete, which no offset can repair; without
    absent rows, the mean rank correlation of the absent logits before and after.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (Acc_{U/U}); the rank correlation is ours.
    """
    question = "Are absent classes still told apart among themselves?"
    some = torch.linspace(0, len(after) - 1, min(len(after), 2000)).long().unique()
    num_absent = int((~after.seen).sum())
    order = rank_correlation(before.logits[some][:, ~before.seen], after.logits[some][:, ~after.seen])
    absent = ~after.seen[after.known_labels]
    evidence: dict[str, float | int | str] = {"rank_correlation": order, "absent_rows": int(absent.sum())}
    if not absent.any() or num_absent < 2:
        return Finding(
            question,
            value=order,
            damaged=order < 0.5,
            verdict=f"The order of the absent logits before and after correlates with {order:.2f} (1: the same order). "
            "Rows of absent classes are needed to say what that means for accuracy.",
            evidence=evidence,
        )
    then = margins(before.logits[absent], before.known_labels[absent], before.seen).hit
    now = margins(after.logits[absent], after.known_labels[absent], after.seen).hit
    among = change(then, now)
    verb = "fell" if among.fell() else "rose" if among.rose() else "hardly changed"
    evidence |= {"among_before": among.before, "among_after": among.after, "standard_error": among.error}
    verdict = (
        f"{'Less well' if among.fell() else 'Yes'}. Among absent classes alone, accuracy {verb}: "
        f"{among.before:.1%} before, {among.after:.1%} after. No offset changes this number."
    )
    return among.answers(question, among.fell(), verdict, evidence)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Mean Spearman correlation of the rows of two [N, K] tensors; 1 where K < 2 or nothing varies."""
    if a.shape[1] < 2 or not len(a):
        return 1.0
    ranks = [x.argsort(dim=1).argsort(dim=1).double() for x in (a, b)]
    x, y = (r - r.mean(dim=1, keepdim=True) for r in ranks)
    return float(((x * y).sum(dim=1) / (x.square().sum(dim=1) * y.square().sum(dim=1)).sqrt()).mean())
