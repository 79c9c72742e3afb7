"""Choose the offset by fine-tuning again, with some of the seen classes left out to stand for absent ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from statistics import fmean, median
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.core.checks import check_groups
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.progress import track
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head_alone import head_alone
from reclaim.models.predict import predict
from reclaim.snapshots.metrics.tradeoff import Criterion, best, by_classes, curve

__all__ = ["Retrain", "pseudo_cross_validation"]

Retrain = Callable[[Classifier, Data], Classifier]


def pseudo_cross_validation(
    before: Classifier,
    data: Data,
    retrain: Retrain,
    *,
    after: Classifier | None = None,
    shares: Sequence[float] = (0.5,),
    runs: int = 3,
    criterion: Criterion = "overall",
    aggregate: Literal["mean", "median"] = "mean",
    seed: int = 0,
    inference: Inference = Inference(),
) -> Selection:
    """Fine-tune on some of the seen classes, and take the offset that is best with the others as absent ones.

    A run divides the seen classes at random into P and Q and retrains on four fifths of the training rows of P. The
    exact trade-off curve of the last fifth and of the rows of Q, with P as seen and all other classes as absent, has
    the run's offset. No row of an absent class is read.

    Args:
        before: the pretrained model.
        data: the target domain; its `seen` says which classes the fine-tuning had.
        retrain: the recipe that made the fine-tuned model, ``lambda model, data: fine_tune(model, data, budget)``. It
            is given a copy of `before`, and data whose seen classes are P and whose only split is "train".
        after: the fine-tuned model, to be cheap: only heads are retrained, on features of `before` drawn once, and the
            offset is multiplied by the ratio of the gaps that `after` and a head retrained on all seen classes have
            between seen and absent logits (own class left out, log-sum-exp; on "val", or "train" without such rows).
        shares: how much of the seen classes P gets, at least two. With several, the line through the offsets against
            the logarithm of the number of classes in P is followed to all seen classes.
        runs: divisions per share; each costs one retraining.
        criterion: "overall" counts either group by its true number of classes.
        aggregate: how the runs with equally many classes become one offset.
        seed: of the divisions.

    Returns: the selection. Its `details` have every run's number of classes and offset, before any `ratio`, and their
        `spread`: the standard deviation among runs with equally many classes, None with one run. To use it:
        ``LogitOffset(chosen.offset, tuple(data.seen.tolist()), data.classes)``.
    Raises: BadInput without training rows of three seen classes, or if several shares come to one number of classes.
    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; the line and the cheap form are Reclaim's.
    Differs: the released code reads its curves off rows of the true absent classes.
    """
    check_groups(data.seen)
    if "train" not in data.splits:
        raise BadInput(
            f"pseudo cross-validation retrains on the training rows, and {data.source} has the splits "
            f"{', '.join(data.splits)}.\n  Give the training split too, or choose with another selector."
        )
    classes = data.seen_only("train").labels.unique()
    sizes = _sizes(len(classes), shares)
    if runs < 1:
        raise BadInput(f"pseudo cross-validation needs at least one run; given: {runs}.")
    start, rows = (before, data) if after is None else head_alone(before, data, inference)
    random = torch.Generator().manual_seed(seed)
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for size in track([size for size in sizes for _ in range(runs)], "retraining", total=len(sizes) * runs):
        given, judged = _divide(rows, classes[torch.randperm(len(classes), generator=random)[:size]], random)
        answers = predict(retrain(start.copy(), given), judged, "judged", features=False, inference=inference)
        assert answers.labels is not None
        points = by_classes(curve(answers.logits, answers.labels, judged.seen), data.seen)
        found[size].append(best(points, criterion)[0])

    middle = fmean if aggregate == "mean" else median
    offset = _followed({size: middle(offsets) for size, offsets in found.items()}, len(classes))
    ratio = 1.0 if after is None else _ratio(after, data, start, rows, retrain, inference)
    squares = [(one - fmean(offsets)) ** 2 for offsets in found.values() for one in offsets]
    reason = (
        f"it is the {aggregate} of what is best after retraining on {' or '.join(map(str, sizes))} of {len(classes)} "
    )
    reason += f"seen classes, {len(squares)} times, with the others as absent ones"
    reason += f", followed to {len(classes)}" if len(sizes) > 1 else ""
    return Selection(
        offset=offset * ratio,
        reason=reason + (f", times {ratio:.2f} because only heads were retrained" if after is not None else ""),
        evidence={name: len(data.seen_only(name)) for name in (["train"] if after is None else rows.splits)},
        details={
            "runs": [{"classes": size, "offset": one} for size, offsets in found.items() for one in offsets],
            "spread": (sum(squares) / (len(squares) - len(sizes))) ** 0.5 if runs > 1 else None,
            "ratio": ratio,
        },
    )


def _sizes(num_classes: int, shares: Sequence[float]) -> list[int]:
    """How many classes P gets, in ascending order: at least two, and one is left to Q."""
    if not shares or not all(0 < share < 1 for share in shares):
        raise BadInput(f"the shares of the seen classes must be between 0 and 1; given: {list(shares)}.")
    if num_classes < 3:
        raise BadInput(
            f"pseudo cross-validation retrains on two seen classes or more and judges by at least one other; training "
            f"rows are of {num_classes}.\n  Choose with gap-matching or retention-budget instead."
        )
    sizes = sorted({min(num_classes - 1, max(2, round(share * num_classes))) for share in shares})
    if len(sizes) < 2 <= len(shares):
        raise BadInput(
            f"the shares {list(shares)} of {num_classes} seen classes all come to {sizes[0]} of them, and one point "
            "makes no line.\n  Give one share."
        )
    return sizes


def _divide(data: Data, classes: Tensor, random: torch.Generator) -> tuple[Data, Data]:
    """What is retrained on, four fifths of the training rows of `classes`, and what is judged: the other seen rows."""
    rows, seen = data.seen_only("train"), torch.zeros_like(data.seen)
    seen[classes] = True
    inside = seen[rows.labels]
    order = torch.randperm(len(rows), generator=random)
    order = order[rows.labels[order].argsort(stable=True)]  # so that it is a fifth of each class
    judged = ~inside
    judged[order[inside[order]][::5]] = True
    part = lambda name, which: replace(data, splits={name: rows.rows(which)}, seen=seen)  # noqa: E731
    return part("train", ~judged), part("judged", judged)


def _followed(offsets: dict[int, float], to: int) -> float:
    """The least-squares line of offsets by the logarithm of the number of classes, at `to`; of one offset, itself."""
    if len(offsets) == 1:
        return next(iter(offsets.values()))
    slope, start = np.polyfit([log(size) for size in offsets], list(offsets.values()), 1)
    return float(start + slope * log(to))


def _ratio(
    after: Classifier, data: Data, head: Classifier, features: Data, retrain: Retrain, inference: Inference
) -> float:
    """The gap between seen and absent logits of the fine-tuned model over that of a retrained head, on equal rows."""
    cheap = retrain(head.copy(), replace(features, splits={"train": features.split("train")}))
    split = "val" if "val" in features.splits else "train"
    rows = replace(data, splits={split: data.seen_only(split)})
    gaps = gap_matching(
        Evidence(
            seen=predict(after, rows, split, features=False, inference=inference),
            before=predict(cheap, features, split, features=False, inference=inference),
        )
    ).details
    if gaps["gap_before"] <= 0 or gaps["gap_after"] <= 0:
        raise BadInput(
            f"seen logits stand above absent ones by {gaps['gap_after']:.2f} in the fine-tuned model and by "
            f"{gaps['gap_before']:.2f} with a retrained head, which have no meaningful ratio.\n"
            "  Retrain the whole network: leave out `after`."
        )
    return float(gaps["gap_after"] / gaps["gap_before"])
