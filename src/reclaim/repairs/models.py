"""The main job: mix the weights, choose the offset, fold it in, without a label of an absent class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from reclaim.core.checks import check_groups
from reclaim.core.devices import find_device
from reclaim.core.inference import Inference
from reclaim.models.adapters import Form, as_peft
from reclaim.models.classifier import Classifier
from reclaim.models.head import first_row, settled, traced
from reclaim.models.pairs import Prepare, paired
from reclaim.models.prepared import Prepared
from reclaim.models.union import heads_differ
from reclaim.repairs.choices import BY_RETRAINING, Choices
from reclaim.repairs.folding import fold_offset
from reclaim.repairs.mixtures import WeightMixtures, answered
from reclaim.repairs.modules import AnyData, Names, Network, Opened, Seen, opened
from reclaim.repairs.plan import plan
from reclaim.repairs.pseudo_cross_validation import Retrain, check_retrain, plan_by_retraining
from reclaim.repairs.result import Repair
from reclaim.repairs.rows import MoreEvidence, divide, for_statistics, one_split
from reclaim.repairs.stitched_models import repair_stitched
from reclaim.repairs.taking_home import check_form, taken_home

__all__ = ["repair"]

N = TypeVar("N", bound=Network)


def repair(
    before: N,
    after: N | AnyData,
    data: AnyData | None = None,
    choices: Choices = Choices(),
    *,
    seen: Seen = None,
    classes: Sequence[str] = (),
    evidence: MoreEvidence[Any] = MoreEvidence(),
    retrain: Retrain | None = None,
    prepare: Prepare | None = None,
    inference: Inference = Inference(),
    device: str | None = None,
    before_classes: Sequence[str] = (),
    after_classes: Sequence[str] = (),
    result: Form | None = None,
    initial: Path | None = None,
) -> Repair[N]:
    """Repair a fine-tuned classifier, or a plain module: ``repair(before, after, loader, seen=range(5)).model``.

    Where the two answer other classes, as where the head was replaced for the fine-tuning, their heads are joined by
    name, and the result answers the union (`repair_stitched`).

    A module that peft has wrapped is a pair by itself: ``repair(wrapped, loader, seen=range(5)).model``.

    1. Divide the data: held-out rows of seen classes choose, report rows only report (`divide`).
    2. Choose alpha, and shifts of single classes, on half of the held-out rows (`choose_alpha`).
    3. Choose the mixture's offset on the other half, so that its guarantee holds (`plan`).
    4. Fold offset and shifts into the head (`fold_offset`), and answer the report rows with the result.

    Args:
        before, after: the pretrained model, and the same architecture fine-tuned; its head may be another one.
        data: the target domain, `Data`; or with modules a loader, or inputs and labels (`reclaim.repairs.modules`).
        seen, classes: which classes the fine-tuning had, and all their names, where the data do not say it.
        evidence: more data; of each one split is read, "val", "test", "train" or the first, the first there is.
        retrain: the recipe that made `after`, which "pseudo-cross-validation" repeats in place of 2 and 3.
        inference: how networks are run. Examples are decoded once and kept, where memory suffices (`Prepared`).
        device: where they are run, in place of that of `inference`. The repaired model lies where `after` lies.
        before_classes, after_classes: the names of each model's outputs, in order, where it does not know them.
        result: whether an adapter becomes an "adapter" again, its default if it can be scaled, or is "merged".
        initial: the folder of the adapter as it was before training, where its beginning changed the base (PiSSA).
        prepare: "before" or "after": whose way of preparing images is right, where the two are on record with others.

    Raises: BadInput, BadKind if models or data do not belong together, or do not hold what is needed.
    Source: Mai et al., NeurIPS 2024 (offset); Wortsman et al., CVPR 2022 (mixing); the combination is Reclaim's.
    """
    check_retrain(choices, retrain)
    inference = inference if device is None else replace(inference, device=device)
    find_device(inference.device)
    names = Names(tuple(classes), tuple(before_classes), tuple(after_classes))
    given = opened(before, after, data, evidence, seen=seen, names=names, inference=inference, initial=initial)
    if heads_differ(given.before, given.after):
        done = repair_stitched(given, choices, prepare=prepare, result=result, said=seen is not None)
    else:
        done = _repair_kept(_matched(given, prepare, result), choices, retrain, result)
    return Repair(**vars(done) | {"model": _as_given(done.model, before)})


def _repair_kept(given: Opened, choices: Choices, retrain: Retrain | None, result: Form | None) -> Repair[Classifier]:
    """The repair of two classifiers over the same classes, in the steps that `repair` names."""
    rows, run, source = divide(given.data, choices), given.inference, Prepared()
    mixtures = WeightMixtures(given.before, given.after, for_statistics(given.data, rows), run, source)
    if choices.select == BY_RETRAINING:
        chosen = plan_by_retraining(given.before, given.after, rows.held_out, retrain, choices, run)
    else:
        chosen = plan(mixtures, rows, choices, given.evidence.map(one_split))
    made, bias = fold_offset(mixtures.model(chosen.alpha), chosen.offset, rows.certify, run, source)
    start, end = (
        replace(answered(model, rows.report, run, features=True, source=source), weights=model.weights)
        for model in (given.before, given.after)
    )
    repaired = answered(made, rows.report, run, source=source)
    home = taken_home(made, given.before, given.after, chosen.alpha, result, first_row(made, rows.certify.split))
    home = replace(home, seen=given.data.seen_classes)
    return Repair(chosen, home, start, end, repaired, bias)


def _matched(given: Opened, prepare: Prepare | None, result: Form | None) -> Opened:
    """Both models over the classes of the fine-tuned one, among which those of the data must be, with equal inputs."""
    check_groups(given.data.seen)
    check_form(given.before, given.after, result)
    before, after = paired(given.before, given.after, prepare)
    after, before = settled(after, given.data), traced(before, given.data)
    before = before if before.classes else before.bind(after.classes)
    return replace(given, before=before.reordered(after.classes), after=after)


def _as_given(model: Classifier, given: N) -> N:
    """The classifier; where a module was given, its module."""
    home: Any = model
    if not isinstance(given, Classifier):
        home = model.module if model.adapter is None else as_peft(model.adapter, model.head, model.weights)
    repaired: N = home
    return repaired
