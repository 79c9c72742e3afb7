"""Do the features still separate absent classes?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reclaim.core.arrays import row_blocks
from reclaim.core.checks import check_features
from reclaim.report.finding import Finding, change
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["features", "nearest_class_mean"]


def features(before: Snapshot, after: Snapshot) -> Finding:
    """Do the features still separate absent classes, the head left aside?

    Value: the change of nearest-class-mean accuracy on absent rows, all classes competing.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (nearest class mean).
    Differs: the class means come from the same rows, each row left out of its own class's mean, instead of from a
        training set of all classes, which users do not have.
    """
    question = "Do the features still separate absent classes?"
    if before.features is None or after.features is None:
        return Finding(
            question,
            None,
            False,
            "Not measured: the snapshots carry no features; `predict` keeps them unless told not to.",
        )
    for features in (before.features, after.features):
        check_features(features)
    labels = after.known_labels
    then = nearest_class_mean(before.features, labels, len(after.seen))
    now = nearest_class_mean(after.features, labels, len(after.seen))
    absent = ~after.seen[labels]
    if not absent.any():
        seen = change(then, now)
        return Finding(
            question,
            None,
            False,
            f"Not measured: no row belongs to an absent class. On seen rows the nearest class mean is right "
            f"{seen.before:.1%} of the time before and {seen.after:.1%} after.",
            {"seen_before": seen.before, "seen_after": seen.after},
        )
    moved = change(then[absent], now[absent])
    word = "Less well" if moved.fell() else "Better than before" if moved.rose() else "As well as before"
    evidence: dict[str, float | int | str] = {
        "absent_before": moved.before,
        "absent_after": moved.after,
        "standard_error": moved.error,
        "absent_rows": int(absent.sum()),
    }
    if not bool(absent.all()):
        seen = change(then[~absent], now[~absent])
        evidence |= {"seen_before": seen.before, "seen_after": seen.after}
    verdict = (
        f"{word}. With the head left aside, the nearest class mean is right on {moved.after:.1%} of the absent "
        f"rows; before fine-tuning on {moved.before:.1%}."
    )
    return moved.answers(question, moved.fell(), verdict, evidence)


def nearest_class_mean(f: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Whether each row [N] of features [N, D] is nearest, by cosine, to the mean of its class without itself."""
    unit = normalize(f.float(), dim=1)
    sums = unit.new_zeros(num_classes, f.shape[1]).index_add_(0, labels, unit)
    square = sums.square().sum(dim=1)
    counts = torch.bincount(labels, minlength=num_classes)
    right = torch.empty(len(f), dtype=torch.bool, device=f.device)
    for block in row_blocks(f):
        y = labels[block]
        dots = unit[block] @ sums.T  # [B, C]
        scores = (dots / square.sqrt().clamp_min(1e-12)).masked_fill_(counts == 0, -torch.inf)
        own = dots.gather(1, y[:, None]).squeeze(1)
        without = (own - 1) / (square[y] - 2 * own + 1).clamp_min(1e-12).sqrt()
        without = without.masked_fill(counts[y] < 2, -torch.inf)
        right[block] = scores.scatter_(1, y[:, None], without[:, None]).argmax(dim=1) == y
    return right
