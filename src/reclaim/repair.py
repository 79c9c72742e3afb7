"""The main job: mix the weights, choose the offset, fold it in, without a label of an absent class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from reclaim.batch_norm import measure_again, statistics_differ
from reclaim.calibrators.logit_offset import LogitOffset
from reclaim.checks import check_groups
from reclaim.classifier import Classifier, ends_with_head, fold
from reclaim.data import Data, Split
from reclaim.errors import BadInput
from reclaim.merges.interpolation import interpolation
from reclaim.metrics.margins import margins
from reclaim.predict import predict
from reclaim.running import Running
from reclaim.selectors import Evidence
from reclaim.snapshot import Snapshot

__all__ = ["Mix", "Repair", "divide", "repair", "smallest_within_one_error", "story"]

WEIGHTS = tuple(step / 10 for step in range(11))
ENOUGH_TO_DIVIDE = 200  # held-out rows from which on one half chooses the weight and the other the offset


@dataclass(frozen=True)
class Mix:
    """How far the weights stay with the fine-tuned model.

    Attributes:
        weight: 0 is the pretrained model, 1 the fine-tuned one.
        reason: why this one.
        tried: held-out seen accuracy by weight tried.
        rows: held-out rows that chose it.
    """

    weight: float
    reason: str
    tried: dict[str, float] = field(default_factory=dict)
    rows: int = 0


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
    extra: Mapping[str, Data] | None = None,
    held_out: float = 0.5,
    seed: int = 0,
    running: Running = Running(),
) -> Repair:
    """Repair a fine-tuned classifier.

    1. Divide the data: held-out rows of seen classes choose, report rows only report (`divide`).
    2. Mix the weights of the two models: the smallest weight of the fine-tuned one whose seen accuracy is within one
       standard error of the best, on half of the held-out rows. If no offset fits the budget there, fall back to 1.
    3. Choose the offset of the mixture on the other half, so that its guarantee holds. With fewer than 200 held-out
       rows all of them choose both, and nothing is guaranteed.
    4. Fold it into the head and run the result on the report rows.

    Args:
        before: the pretrained model.
        after: the same architecture, fine-tuned from it; both have the same classes, in any order.
        data: the target domain; its `seen` says which classes the fine-tuning had.
        mix: the weight of the fine-tuned model, or "auto".
        select: a selector of `reclaim list selectors`.
        numbers: keyword arguments of the selector.
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
    apart = mix == "auto" and len(chooses) >= ENOUGH_TO_DIVIDE
    for_mix, for_offset = _halves(chooses, seed) if apart else (chooses, chooses)
    rows = replace(data, splits={"mix": for_mix, "offset": for_offset, "report": reports})

    def ask(model: Classifier, split: str, features: bool = False) -> Snapshot:
        """Answers on a part of the data."""
        given = predict(model, rows, split, features=features, running=running)
        return replace(given, split=f"{split} rows", finite=True)

    def mixture(weight: float) -> Classifier:
        """The classifier part of the way, with running statistics of its own where the two differ."""
        mixed = after.with_weights(interpolation(before.weights, after.weights, weight=weight))
        if 0 < weight < 1 and statistics_differ(before.weights, after.weights):
            inputs = data.seen_only("train") if "train" in data.splits else chooses
            return measure_again(mixed, inputs, running)
        return mixed

    def choose(weight: float) -> tuple[Classifier, LogitOffset, Snapshot]:
        """The mixture, its offset, and its answers on the rows that chose it."""
        mixed = mixture(weight)
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
        right = torch.stack([_right(ask(mixture(weight), "mix")) for weight in WEIGHTS])
        chosen = smallest_within_one_error(WEIGHTS, right)
        mixed, offset, answers = choose(chosen.weight)
        if offset.offset == 0 and offset.guarantee is None and chosen.weight != 1:
            chosen = replace(chosen, weight=1.0, reason=f"back to the fine-tuned model, because at {chosen.weight:g} "
                             f"{offset.reason}")  # fmt: skip
            mixed, offset, answers = choose(1.0)
            offset = _uncertified(offset, "a first weight failed on the same rows")
        elif not apart:
            offset = _uncertified(offset, "the same rows chose the weight")
    repaired, bias = _folded(mixed, offset, for_offset, answers, lambda model: ask(model, "offset"))
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
        lines.append(("Limits", "no row of an absent class was given, so the absent accuracy cannot be measured."))
    return lines


def divide(data: Data, held_out: float = 0.5, seed: int = 0) -> tuple[Split, Split]:
    """Rows that choose, of seen classes only, and rows that report, of all.

    With a "val" and a "test" split these are they. With one split besides "train", a random share of it chooses and
    the rest reports. Training rows never serve: a model is too sure of what it was trained on.

    Raises: BadInput if there are no such rows.
    """
    if {"val", "test"} <= data.splits.keys():
        chooses, reports = data.seen_only("val"), data.split("test")
    else:
        kept = [name for name in data.splits if name != "train"]
        if len(kept) != 1:
            raise BadInput(
                f"a repair needs rows the model was not trained on, and {data.source} has the splits "
                f"{', '.join(data.splits)}.\n  Give a val/ and a test/ split, or one split to divide."
            )
        if not 0 < held_out < 1:
            raise BadInput(f"the share of rows that choose must be between 0 and 1; given: {held_out}.")
        whole = data.split(kept[0])
        order, cut = _shuffled(len(whole), seed), round(held_out * len(whole))
        first, rest = order[:cut].sort().values, order[cut:].sort().values
        chooses, reports = whole.rows(first[data.seen[whole.labels[first]]]), whole.rows(rest)
    if len(chooses) < 2 or not len(reports):
        raise BadInput(
            f"{data.source} leaves {len(chooses)} held-out rows of seen classes to choose with and {len(reports)} rows "
            "to report on; at least 2 and 1 are needed."
        )
    return chooses, reports


def smallest_within_one_error(weights: tuple[float, ...], right: Tensor) -> Mix:
    """The smallest weight whose accuracy is within one standard error of the best, from hits [weights, rows]."""
    accuracy = right.double().mean(dim=1)
    n, best = right.shape[1], float(accuracy.max())
    error = (best * (1 - best) / n) ** 0.5
    index = int((accuracy >= best - error).nonzero()[0])
    return Mix(
        weight=weights[index],
        reason=f"the smallest weight of the fine-tuned model within one standard error ({error:.3f}) of the best seen "
        f"accuracy ({best:.3f}) on {n} held-out rows",
        tried={f"{weight:g}": float(value) for weight, value in zip(weights, accuracy, strict=True)},
        rows=n,
    )


def _halves(rows: Split, seed: int) -> tuple[Split, Split]:
    order = _shuffled(len(rows), seed + 1)
    cut = len(rows) // 2
    return rows.rows(order[:cut].sort().values), rows.rows(order[cut:].sort().values)


def _shuffled(n: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _uncertified(offset: LogitOffset, why: str) -> LogitOffset:
    return replace(offset, guarantee=None, reason=f"{offset.reason}; not certified, because {why}")


def _right(rows: Snapshot) -> Tensor:
    """Whether each row is right, [N] bool."""
    assert rows.labels is not None
    return margins(rows.logits, rows.labels, rows.seen).right


def _answers_to(model: Classifier, data: Data, running: Running) -> Snapshot:
    split = next(name for name in ("val", "test", "train", *data.splits) if name in data.splits)
    return predict(model, data, split, features=False, running=running)


def _folded(
    mixed: Classifier, offset: LogitOffset, rows: Split, answers: Snapshot, ask: Callable[[Classifier], Snapshot]
) -> tuple[Classifier, float]:
    """The mixture with the offset in its head, and the constant added to the bias.

    Where the network goes on after its head (SqueezeNet's ReLU), a constant on the bias is none on the logits. Then it
    is the largest constant that costs no more held-out seen rows than the offset does: the loss grows with it, so what
    is certified of the offset holds for it too.
    """
    first = mixed.preprocess(rows.read(0))[None]
    if ends_with_head(mixed, first):
        return fold(mixed, offset), offset.offset
    least = int(_right(replace(answers, logits=offset(answers.logits))).sum())

    def raised(bias: float) -> Classifier:
        return fold(mixed, replace(offset, offset=bias))

    def keeps(bias: float) -> bool:
        return int(_right(ask(raised(bias))).sum()) >= least

    step = max(1.0, abs(offset.offset))
    low, high = -step, step
    while keeps(high) and high < 64 * step:
        low, high = high, 2 * high
    while not keeps(low) and low > -64 * step:
        low, high = 2 * low, low
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return raised(low), low
