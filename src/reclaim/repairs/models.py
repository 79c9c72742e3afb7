"""The main job: mix the weights, choose the offset, fold it in, without a label of an absent class."""

from __future__ import annotations

from dataclasses import replace

from reclaim.core.checks import check_groups
from reclaim.core.inference import Inference
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.head import settled, traced
from reclaim.repairs.choices import BY_RETRAINING, Choices
from reclaim.repairs.folding import fold_offset
from reclaim.repairs.mixtures import WeightMixtures, answered
from reclaim.repairs.plan import plan
from reclaim.repairs.pseudo_cross_validation import Retrain, check_retrain, plan_by_retraining
from reclaim.repairs.result import Repair
from reclaim.repairs.rows import MoreEvidence, Part, Rows, divide
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["repair"]


def repair(
    before: Classifier,
    after: Classifier,
    data: Data,
    choices: Choices = Choices(),
    *,
    evidence: MoreEvidence[Data] = MoreEvidence(),
    retrain: Retrain | None = None,
    inference: Inference = Inference(),
) -> Repair[Classifier]:
    """Repair a fine-tuned classifier.

    1. Divide the data: held-out rows of seen classes choose, report rows only report (`divide`).
    2. Choose alpha, and shifts of single classes, on half of the held-out rows (`choose_alpha`).
    3. Choose the mixture's offset on the other half, so that its guarantee holds (`plan`).
    4. Fold offset and shifts into the head (`fold_offset`), and answer the report rows with the result.

    Args:
        before, after: the pretrained model, and the same architecture fine-tuned; over the same classes in any order.
        data: the target domain; its `seen` says which classes the fine-tuning had.
        evidence: more data; of each one split is read, "val", "test", "train" or the first, the first there is.
        retrain: the recipe that made `after`, which "pseudo-cross-validation" repeats in place of 2 and 3.

    Raises: BadInput if the models do not belong together, or the data do not hold what is needed.
    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (offset); Wortsman et al., "Robust
        fine-tuning of zero-shot models", CVPR 2022 (mixing); the combination and its rule are Reclaim's.
    """
    check_retrain(choices, retrain)
    before, after = _matched(before, after, data)
    rows = divide(data, choices)
    mixtures = WeightMixtures(before, after, _for_statistics(data, rows), inference)
    if choices.select == BY_RETRAINING:
        chosen = plan_by_retraining(before, after, rows.held_out, retrain, choices, inference)
    else:
        chosen = plan(mixtures, rows, choices, evidence.map(_one_split))
    model, bias = fold_offset(mixtures.model(chosen.alpha), chosen.offset, rows.certify, inference)
    start, end = (_with_weights(given, rows.report, inference) for given in (before, after))
    return Repair(chosen, _told_seen(model, data), start, end, answered(model, rows.report, inference), bias)


def _matched(before: Classifier, after: Classifier, data: Data) -> tuple[Classifier, Classifier]:
    """Both models over the classes of the fine-tuned one, among which those of the data must be."""
    check_groups(data.seen)
    after, before = settled(after, data), traced(before, data)
    before = before if before.classes else before.bind(after.classes)
    return before.reordered(after.classes), after


def _for_statistics(data: Data, rows: Rows[Part]) -> Split:
    """Rows that measure running statistics, for which no label is read: of training where there are some."""
    return data.seen_only("train") if "train" in data.splits else rows.held_out.split


def _one_split(data: Data) -> Part:
    name = next(name for name in ("val", "test", "train", *data.splits) if name in data.splits)
    return Part(data, data.split(name), name)


def _told_seen(model: Classifier, data: Data) -> Classifier:
    """The classifier, on record as fine-tuned on the seen classes of the data."""
    seen = tuple(name for name, is_seen in zip(data.classes, data.seen.tolist(), strict=True) if is_seen)
    return replace(model, seen=seen)


def _with_weights(model: Classifier, rows: Part, inference: Inference) -> Snapshot:
    """What a model answers, with all that diagnoses look at."""
    return replace(answered(model, rows, inference, features=True), weights=model.weights)
