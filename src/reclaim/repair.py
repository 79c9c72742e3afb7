"""The main job: mix the weights, choose the offset, fold it in, without a label of an absent class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from reclaim.calibrators.logit_offset import LogitOffset
from reclaim.checks import check_groups
from reclaim.classifier import Classifier
from reclaim.data import Data
from reclaim.folding import fold_offset
from reclaim.holdout import divide, halves
from reclaim.metrics.accuracy import wilson_interval
from reclaim.mixing import WEIGHTS, Mix, Prefer, mixture, most_promising
from reclaim.predict import predict
from reclaim.running import Running
from reclaim.selectors import Evidence
from reclaim.snapshot import Snapshot

__all__ = ["Repair", "repair", "story"]

ENOUGH_TO_DIVIDE = 200  # held-out rows from which on one half chooses the weight and the other the offset


@dataclass(frozen=True)
class Repair:
    """A repaired model, and what there is to say about it.

    Attributes:
        model: the repaired classifier, of the fine-tuned one's architecture and format.
        mix, offset: what was chosen, with reasons.
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
    prefer: Prefer | None = None,
    extra: Mapping[str, Data] | None = None,
    held_out: float = 0.5,
    seed: int = 0,
    running: Running = Running(),
) -> Repair:
    """Repair a fine-tuned classifier.

    1. Divide the data: held-out rows of seen classes choose, report rows only report (`divide`).
    2. Mix the weights of the two models: on half of the held-out rows, the weight that promises the best accuracy over
       all classes within the budget (`most_promising`). If no offset fits the budget there, fall back to 1.
    3. Choose the offset of the mixture on the other half, so that its guarantee holds. With fewer than 200 held-out
       rows, or with a preference, all of them choose both, and nothing is guaranteed.
    4. Fold it into the head and run the result on the report rows.

    Args:
        before: the pretrained model.
        after: the same architecture, fine-tuned from it; both have the same classes, in any order.
        data: the target domain; its `seen` says which classes the fine-tuning had.
        mix: the weight of the fine-tuned model, or "auto".
        select: a selector of `reclaim list selectors`.
        numbers: keyword arguments of the selector; `budget` also limits the choice of the weight.
        prefer: give up the budget, and with it the guarantee, for the best estimated accuracy over all classes
            ("balanced"), or with the seen or the absent classes counted twice. The offset is then that of bolder, if
            no selector is given.
        extra: more evidence for it, by name: "unlabelled", "source" or "labelled" data. One split of each is read: the
            only one, or "val", "test", "train", the first there is.
        held_out: the share of rows that choose, where the data have no two splits to keep apart.
        seed: of the division.

    Raises: BadInput if the models do not belong together, or the data do not hold what is needed.
    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (offset); Wortsman et al., "Robust
        fine-tuning of zero-shot models", CVPR 2022 (mixing); the combination and its rule are Reclaim's.
    """
    check_groups(data.seen)
    after = after.bind(data.classes)
    before = (before if before.classes else before.bind(after.classes)).reordered(after.classes)
    chooses, reports = divide(data, held_out, seed)
    select = "bolder" if prefer is not None and select == "auto" else select
    apart = mix == "auto" and prefer is None and len(chooses) >= ENOUGH_TO_DIVIDE
    for_mix, for_offset = halves(chooses, seed) if apart else (chooses, chooses)
    inputs = data.seen_only("train") if "train" in data.splits else chooses  # for statistics, which need no labels
    rows = replace(data, splits={"mix": for_mix, "offset": for_offset, "report": reports})

    def ask(model: Classifier, split: str, features: bool = False) -> Snapshot:
        """Answers on a part of the data."""
        given = predict(model, rows, split, features=features, running=running)
        return replace(given, split=f"{split} rows", finite=True)

    def choose(weight: float) -> tuple[Classifier, LogitOffset, Snapshot]:
        """The mixture, its offset, and its answers on the rows that chose it."""
        mixed = mixture(before, after, weight, inputs, running)
        answers = ask(mixed, "offset")
        evidence = Evidence(
            seen=answers,
            before=ask(before, "offset"),
            reference=ask(after, "offset") if weight != 1 else None,
            **{name: _answers_to(mixed, more, running) for name, more in (extra or {}).items()},
        )
        return mixed, LogitOffset.select(evidence, select, numbers), answers

    if mix != "auto":
        chosen = Mix(float(mix), "as given")
        mixed, offset, answers = choose(chosen.weight)
    else:
        chosen = most_promising(
            ask(before, "mix"),
            {weight: ask(mixture(before, after, weight, inputs, running), "mix") for weight in WEIGHTS},
            budget=None if prefer is not None else (numbers or {}).get("budget", 0.05),
            prefer=prefer or "balanced",
        )
        mixed, offset, answers = choose(chosen.weight)
        if offset.guarantee is None and "budget" in offset.details and chosen.weight != 1:  # it cannot be kept here
            chosen = replace(chosen, weight=1.0, reason=f"back to the fine-tuned model, because at {chosen.weight:g} "
                             f"{offset.reason}")  # fmt: skip
            mixed, offset, answers = choose(1.0)
            offset = _uncertified(offset, "a first weight failed on the same rows")
        elif not apart:
            offset = _uncertified(offset, "the same rows chose the weight")
    repaired, bias = fold_offset(mixed, offset, for_offset, answers, lambda model: ask(model, "offset"))
    return Repair(
        model=replace(
            repaired, seen=tuple(name for name, s in zip(data.classes, data.seen.tolist(), strict=True) if s)
        ),
        mix=chosen,
        offset=offset,
        bias=bias,
        before=replace(ask(before, "report", features=True), weights=before.weights),
        after=replace(ask(after, "report", features=True), weights=after.weights),
        repaired=ask(repaired, "report"),
    )


def story(result: Repair) -> list[tuple[str, str]]:
    """What was done, in sentences with a heading each."""
    offset, rows = result.offset, result.repaired
    back, why = f"{1 - result.mix.weight:.0%} of the way back to the pretrained weights", result.mix.reason
    lines = [
        ("Mixing", f"{back}: {why}."),
        (
            "Offset",
            f"{offset.offset:.2f} added to the logits of absent classes, by {offset.selector}: {offset.reason}.",
        ),
        ("Guarantee", f"{offset.guarantee}." if offset.guarantee else "none."),
    ]
    if result.bias != offset.offset:
        instead = (
            f"{result.bias:.2f} was added to the bias of its last layer instead, which costs as many held-out rows"
        )
        lines.append(("In the model", f"the network goes on after its last layer, so {instead}."))
    if rows.labels is not None and bool(rows.seen[rows.labels].all()):
        limits = "no row of an absent class was given, so the absent accuracy cannot be measured, only estimated"
        tried = next((t for t in result.mix.tried if t.weight == result.mix.weight), None)
        if tried:
            low, high = wilson_interval(tried.absent, result.mix.rows)
            limits += (
                f": {tried.absent:.1%} (95 % interval {low:.1%} to {high:.1%}, if absent classes were as well known "
            )
            limits += "as seen ones before fine-tuning)"
        lines.append(("Limits", f"{limits}."))
    return lines


def _uncertified(offset: LogitOffset, why: str) -> LogitOffset:
    return replace(offset, guarantee=None, reason=f"{offset.reason}; not certified, because {why}")


def _answers_to(model: Classifier, data: Data, running: Running) -> Snapshot:
    split = next(name for name in ("val", "test", "train", *data.splits) if name in data.splits)
    return predict(model, data, split, features=False, running=running)
