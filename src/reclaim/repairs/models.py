"""The main job: mix the weights, choose the offset, fold it in, without a label of an absent class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.core.checks import check_groups
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head import settled, traced
from reclaim.models.predict import predict
from reclaim.repairs.alpha import Mix, Prefer
from reclaim.repairs.by_retraining import NAME as BY_RETRAINING
from reclaim.repairs.by_retraining import choose_by_retraining
from reclaim.repairs.folding import fold_offset
from reclaim.repairs.mixtures import mixture
from reclaim.repairs.plan import choose, divided
from reclaim.repairs.pseudo_cross_validation import Retrain
from reclaim.repairs.rows import divide, halves
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Repair", "repair"]


@dataclass(frozen=True)
class Repair:
    """A repaired model, and what there is to say about it.

    Attributes:
        model: the repaired classifier, of the fine-tuned one's architecture and format.
        mix, offset: what was chosen, with reasons; the offset has the shifts of single classes too.
        bias: what was added to the head's bias for absent classes; the offset itself, unless the network goes on after
            its head, so that no constant there is a constant on the logits.
        before, after, repaired: answers on the report rows, which chose nothing.
    """

    model: Classifier
    mix: Mix
    offset: LogitOffset
    bias: float
    before: Snapshot
    after: Snapshot
    repaired: Snapshot


def repair(
    before: Classifier,
    after: Classifier,
    data: Data,
    *,
    mix: float | Literal["auto"] = "auto",
    select: str = "auto",
    numbers: Mapping[str, Any] | None = None,
    retrain: Retrain | None = None,
    prefer: Prefer | None = None,
    class_balance: float = 0.5,
    extra: Mapping[str, Data] | None = None,
    held_out: float = 0.5,
    seed: int = 0,
    inference: Inference = Inference(),
) -> Repair:
    """Repair a fine-tuned classifier.

    1. Divide the data: held-out rows of seen classes choose, report rows only report (`divide`).
    2. Mix the weights of the two models: on half of the held-out rows, the weight that promises the best accuracy over
       all classes within the budget (`most_promising`), where each mixture's single classes are shifted to be answered
       about as often as they should (`class_balance`). If no offset fits the budget there, fall back to 1.
    3. Choose the offset of the mixture on the other half, so that its guarantee holds. With fewer than 200 held-out
       rows, or with a preference, all of them choose everything, and nothing is guaranteed.
    4. Fold offset and shifts into the head and run the result on the report rows.

    Args:
        before: the pretrained model.
        after: the same architecture, fine-tuned from it; both have the same classes, in any order.
        data: the target domain; its `seen` says which classes the fine-tuning had.
        mix: the weight of the fine-tuned model, or "auto".
        select: a selector of `reclaim list selectors`; or "pseudo-cross-validation", which fine-tunes again for an
            offset of the fine-tuned model: steps 2 and 3 become `pseudo_cross_validation`, without `class_balance`.
        numbers: keyword arguments of the selector; `budget` also limits the choice of the weight.
        retrain: for pseudo cross-validation, the recipe that made the fine-tuned model.
        prefer: give up the budget, and with it the guarantee, for the best estimated accuracy over all classes
            ("balanced"), or with the seen or the absent classes counted twice. The offset is then that of the best
            selector for the evidence that knows no budget, if none is given.
        class_balance: how much of the shifts of single classes to take, from 0 to 1. With "unlabelled" data they take
            every class to be equally frequent there.
        extra: more evidence for it, by name: "unlabelled", "source" or "labelled" data. One split of each is read: the
            only one, or "val", "test", "train", the first there is.
        held_out: the share of rows that choose, where the data have no two splits to keep apart.
        seed: of the division.

    Raises: BadInput if the models do not belong together, or the data do not hold what is needed.
    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (offset); Wortsman et al., "Robust
        fine-tuning of zero-shot models", CVPR 2022 (mixing); the combination and its rule are Reclaim's.
    """
    check_groups(data.seen)
    again = select == BY_RETRAINING
    if retrain is not None and not again:
        raise BadInput(f"`retrain` is for select={BY_RETRAINING!r}; the selector {select!r} retrains nothing.")
    after = settled(after, data)
    before = traced(before, data)
    before = (before if before.classes else before.bind(after.classes)).reordered(after.classes)
    chooses, reports = divide(data, held_out, seed)
    apart = divided(len(chooses), mix, prefer, class_balance)
    for_mix, for_offset = halves(chooses, seed) if apart else (chooses, chooses)
    inputs = data.seen_only("train") if "train" in data.splits else chooses  # for statistics, which need no labels
    rows = replace(data, splits={"mix": for_mix, "offset": for_offset, "report": reports})

    @lru_cache(maxsize=1)
    def mixed(weight: float) -> Classifier:
        return mixture(before, after, weight, inputs, inference)

    def answers(model: Classifier, part: str, features: bool = False) -> Snapshot:
        if part not in rows.splits:
            return _answers_to(model, (extra or {})[part], inference)
        given = predict(model, rows, part, features=features, inference=inference)
        return replace(given, split=f"{part} rows", finite=True)

    @cache
    def ask(weight: float, part: str) -> Snapshot:
        if part == "offset" and not apart:
            return ask(weight, "mix")
        return answers(mixed(weight), part)

    if again:
        own = replace(data, splits=data.splits | {"val": chooses})  # no report row is among them
        chosen = choose_by_retraining(before, after, own, retrain, mix=mix, prefer=prefer, numbers=numbers,
                                      seed=seed, inference=inference)  # fmt: skip
    else:
        chosen = choose(ask, mix=mix, select=select, numbers=numbers, prefer=prefer, balance=class_balance,
                        extra=tuple(extra or ()), apart=apart)  # fmt: skip
    weight, offset = chosen.mix.weight, chosen.offset
    repaired, bias = fold_offset(
        mixed(weight), offset, for_offset, ask(weight, "offset"), lambda model: answers(model, "offset")
    )
    return Repair(
        model=replace(
            repaired, seen=tuple(name for name, s in zip(data.classes, data.seen.tolist(), strict=True) if s)
        ),
        mix=chosen.mix,
        offset=offset,
        bias=bias,
        before=replace(answers(before, "report", features=True), weights=before.weights),
        after=replace(answers(after, "report", features=True), weights=after.weights),
        repaired=answers(repaired, "report"),
    )


def _answers_to(model: Classifier, data: Data, inference: Inference) -> Snapshot:
    split = next(name for name in ("val", "test", "train", *data.splits) if name in data.splits)
    return predict(model, data, split, features=False, inference=inference)
