"""Choose the offset by fine-tuning again, with some of the seen classes left out to stand for absent ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from statistics import fmean, median
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.core.checks import check_groups
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.numbers import Count, InnerShare, Seed, in_range
from reclaim.core.progress import track
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head_alone import head_alone
from reclaim.models.predict import predict
from reclaim.repairs.alpha import ChosenAlpha
from reclaim.repairs.choices import BY_RETRAINING, Choices
from reclaim.repairs.plan import Plan
from reclaim.repairs.rows import Part
from reclaim.snapshots.metrics.tradeoff import best, by_classes, curve

__all__ = ["Retrain", "check_retrain", "divide_classes", "plan_by_retraining", "pseudo_cross_validation"]

Retrain = Callable[[Classifier, Data], Classifier]


@in_range
def pseudo_cross_validation(
    before: Classifier,
    data: Data,
    retrain: Retrain,
    after: Classifier | None = None,
    seed: Seed = 0,
    inference: Inference = Inference(),
    *,
    runs: Count = 3,
    shares: tuple[InnerShare, ...] = (0.5,),
    aggregate: Literal["mean", "median"] = "mean",
    cheap: bool = False,
    criterion: Literal["overall", "balanced", "harmonic"] = "overall",
) -> Selection:
    """Fine-tune on some of the seen classes, and take the offset that is best with the others as absent ones.

    A run divides the seen classes at random into P and Q and retrains on four fifths of the training rows of P. Its
    offset is the best one for the last fifth and the rows of Q, with P as seen. No row of an absent class is read.

    Args:
        before: the pretrained model.
        data: the target domain; its `seen` says which classes the fine-tuning had.
        retrain: the recipe that made the fine-tuned model, ``lambda model, data: fine_tune(model, data, budget)``. It
            is given a copy of `before`, and data whose seen classes are P and whose only split is "train".
        after: the fine-tuned model, which `cheap` needs.
        seed: of the divisions.
        runs: divisions of the seen classes per share; each costs one retraining.
        shares: how much of the seen classes P gets, at least two. With several, the line through the offsets against
            the logarithm of the number of classes in P is followed to all seen classes.
        aggregate: how the runs with equally many classes become one offset.
        cheap: retrain heads only, on features drawn once, and multiply the offset by the ratio of the gaps that the
            fine-tuned model and a retrained head have between seen and absent logits.
        criterion: "overall" counts either group by its true number of classes.

    Returns: the selection. Its `details` have every run's number of classes and offset, before any `ratio`, and their
        `spread`: the standard deviation among runs with equally many classes, None with one run.
    Raises: BadInput without training rows of three seen classes, or if several shares come to one number of classes.
    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; the line and the cheap form are Reclaim's.
    Differs: the released code reads its curves off rows of the true absent classes.
    """
    check_groups(data.seen)
    compared, classes = _compared(after) if cheap else None, _training_classes(data)
    sizes = _sizes(len(classes), shares)
    start, rows = (before, data) if compared is None else head_alone(before, data, inference)
    random = torch.Generator().manual_seed(seed)
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for size in track([size for size in sizes for _ in range(runs)], "retraining", total=len(sizes) * runs):
        given, judged = divide_classes(rows, classes[torch.randperm(len(classes), generator=random)[:size]], random)
        answers = predict(retrain(start.copy(), given), judged, "judged", features=False, inference=inference)
        points = by_classes(curve(answers.logits, answers.known_labels, judged.seen), data.seen)
        found[size].append(best(points, criterion).offset)
    middle = fmean if aggregate == "mean" else median
    offset = _followed({size: middle(offsets) for size, offsets in found.items()}, len(classes))
    ratio = None if compared is None else _ratio(compared, data, start, rows, retrain, inference)
    return Selection(
        offset=offset * (ratio or 1.0),
        reason=_reason(aggregate, found, len(classes), ratio),
        evidence={name: len(data.seen_only(name)) for name in (["train"] if compared is None else rows.splits)},
        details=_details(found, ratio),
    )


def plan_by_retraining(
    before: Classifier,
    after: Classifier,
    held_out: Part,
    retrain: Retrain | None,
    choices: Choices = Choices(select=BY_RETRAINING),
    inference: Inference = Inference(),
) -> Plan:
    """The fine-tuned model as it is, with the offset of `pseudo_cross_validation`. Nothing is guaranteed.

    Args:
        held_out: rows of data whose training rows choose; the cheap form reads these rows too.
        retrain: the recipe that made `after`.
        choices: they must leave alpha at the fine-tuned model, for a mixture is not what is retrained.

    Raises: BadInput if something else is asked for, or the data have no training rows of three seen classes.
    """
    if retrain is None:
        raise BadInput(
            "pseudo cross-validation repeats the fine-tuning, and no `retrain` was given.\n"
            "  Give the recipe of the fine-tuned model: retrain=lambda model, data: fine_tune(model, data, budget)"
        )
    if choices.mix not in ("auto", 1):
        raise BadInput(
            f"pseudo cross-validation chooses an offset for the fine-tuned model; given: a mix of {choices.mix}.\n"
            "  Leave out the mix, or choose with another selector."
        )
    if choices.prefer is not None:
        raise BadInput(
            f"a preference ({choices.prefer!r}) chooses among mixtures, and pseudo cross-validation chooses an offset "
            "for the fine-tuned model.\n  Leave out the preference, or give a `criterion` instead."
        )
    data = replace(held_out.data, splits=held_out.data.splits | {"val": held_out.split})
    chosen = pseudo_cross_validation(before, data, retrain, after, choices.seed, inference, **choices.numbers)
    reason = "as given" if choices.mix == 1 else "pseudo cross-validation chooses an offset for the fine-tuned model"
    offset = LogitOffset(
        offset=chosen.offset,
        fitted=Fitted(tuple(data.seen.tolist()), data.classes, data.source and f"{data.source}:train", chosen.details),
        selector=BY_RETRAINING,
        reason=chosen.reason,
        evidence=chosen.evidence,
    )
    return Plan(ChosenAlpha(1.0, reason), offset)


def check_retrain(choices: Choices, retrain: Retrain | None) -> None:
    """Raise if a recipe is given that nothing repeats."""
    if retrain is not None and choices.select != BY_RETRAINING:
        raise BadInput(f"`retrain` is for select={BY_RETRAINING!r}; the selector {choices.select!r} retrains nothing.")


def _compared(after: Classifier | None) -> Classifier:
    """The fine-tuned model, whose gap the cheap form is scaled to."""
    if after is None:
        raise BadInput("the cheap form is scaled to the fine-tuned model, and no `after` was given.")
    return after


def _training_classes(data: Data) -> Tensor:
    """The seen classes that have training rows."""
    if "train" not in data.splits:
        raise BadInput(
            f"pseudo cross-validation retrains on the training rows, and {data.source} has the splits "
            f"{', '.join(data.splits)}.\n  Give the training split too, or choose with another selector."
        )
    return data.seen_only("train").labels.unique()


def _reason(aggregate: str, found: dict[int, list[float]], num_classes: int, ratio: float | None) -> str:
    """Why this offset, in words."""
    count, sizes = sum(map(len, found.values())), " or ".join(map(str, found))
    reason = f"it is the {aggregate} of what is best after retraining on {sizes} of {num_classes} seen classes, "
    reason += f"{count} times, with the others as absent ones"
    reason += f", followed to {num_classes}" if len(found) > 1 else ""
    return reason if ratio is None else f"{reason}, times {ratio:.2f} because only heads were retrained"


def _details(found: dict[int, list[float]], ratio: float | None) -> dict[str, Any]:
    """Every run, and the standard deviation among runs with equally many classes."""
    runs = [{"classes": size, "offset": one} for size, offsets in found.items() for one in offsets]
    squares = [(one - fmean(offsets)) ** 2 for offsets in found.values() for one in offsets]
    free = len(runs) - len(found)
    spread = (sum(squares) / free) ** 0.5 if free else None
    return {"runs": runs, "spread": spread, "ratio": 1.0 if ratio is None else ratio}


def _sizes(num_classes: int, shares: Sequence[float]) -> list[int]:
    """How many classes P gets, in ascending order: at least two, and one is left to Q."""
    if not shares:
        raise BadInput("the shares of the seen classes are none; give one between 0 and 1.")
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


def divide_classes(data: Data, classes: Tensor, random: torch.Generator) -> tuple[Data, Data]:
    """What is retrained on, four fifths of the training rows of `classes`, and what is judged: the other seen rows.

    Where rows belong together a fifth of the groups is judged, and what a group retrained on holds of other classes is
    left out.
    """
    rows, seen = data.seen_only("train"), torch.zeros_like(data.seen)
    seen[classes] = True
    inside = seen[rows.labels]
    order = torch.randperm(len(rows), generator=random)
    order = order[rows.labels[order].argsort(stable=True)]  # so that it is a fifth of each class
    judged = ~inside
    if rows.groups is None:
        judged[order[inside[order]][::5]] = True
        retrained = ~judged
    else:
        present = rows.groups[inside].unique()
        held = present[torch.randperm(len(present), generator=random)[::5]]
        retrained = inside & ~torch.isin(rows.groups, held)
        judged = ~torch.isin(rows.groups, rows.groups[retrained])
    return (
        replace(data, splits={"train": rows.rows(retrained)}, seen=seen),
        replace(data, splits={"judged": rows.rows(judged)}, seen=seen),
    )


def _followed(offsets: dict[int, float], to: int) -> float:
    """The least-squares line of offsets by the logarithm of the number of classes, at `to`; of one offset, itself."""
    if len(offsets) == 1:
        return next(iter(offsets.values()))
    slope, start = np.polyfit([log(size) for size in offsets], list(offsets.values()), 1)
    return float(start + slope * log(to))


def _ratio(
    after: Classifier, data: Data, head: Classifier, features: Data, retrain: Retrain, inference: Inference
) -> float:
    """The gap between seen and absent logits of the fine-tuned model over that of a head retrained on all seen classes.

    It is taken on held-out rows, or training rows without such: own class left out, log-sum-exp (`gap_matching`).
    """
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
            "  Retrain the whole network: leave out `cheap`."
        )
    return float(gaps["gap_after"] / gaps["gap_before"])
