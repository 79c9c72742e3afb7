"""Every way of choosing a mixture and an offset, on cached scenarios, beside the best pair in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scenarios.cache import Record
from torch import Tensor

from reclaim.calibrators import Calibrator
from reclaim.choosing import ENOUGH_TO_DIVIDE, choose
from reclaim.errors import BadInput
from reclaim.metrics.margins import margins
from reclaim.metrics.tradeoff import Steps, best, by_classes, curve_of, steps_of
from reclaim.mixing import WEIGHTS, Prefer
from reclaim.plugins import find
from reclaim.selectors import Evidence
from reclaim.snapshot import Snapshot

__all__ = ["WAYS", "Case", "Outcome", "judged", "table"]

Mixture = tuple[str, float]  # "weights" or "outputs", and the share of the fine-tuned network
Offset = float | Calibrator  # of absent logits; or what a calibrator makes of all of them
Choice = tuple[Mixture, Offset]
AFTER: Mixture = ("weights", 1.0)
BUDGET = 0.05


@dataclass(frozen=True)
class Case:
    """A scenario as the ways of choosing see it.

    Attributes:
        held: answers of every mixture on held-out rows of seen classes.
        unlabelled: the same on rows of the target domain, without labels.
        pseudo: per pseudo split, the same on held-out rows, of networks fine-tuned on one half of the seen classes.
        test: answers of every mixture on the rows that judge.
        steps: the steps of the trade-off of these.
    """

    held: Mapping[Mixture, Snapshot]
    unlabelled: Mapping[Mixture, Snapshot]
    pseudo: Sequence[Mapping[Mixture, Snapshot]]
    test: Mapping[Mixture, Snapshot]
    steps: Mapping[Mixture, Steps]

    @classmethod
    def of(cls, record: Record, pseudo: Record | None, per_class: int | None = None) -> Case:
        """From the cache; with `per_class`, only so many held-out rows of each class."""
        seen, y = record["seen"], record["labels.held"]
        rows = torch.arange(len(y)) if per_class is None else _first(y, per_class)
        held = {key: Snapshot(z[rows], y[rows], seen, finite=True) for key, z in _mixtures(record["mix.held"])}
        free = {key: Snapshot(z, None, seen, finite=True) for key, z in _mixtures(record["mix.unlabelled"])}
        test = {key: Snapshot(z, record["labels.test"], seen, finite=True) for key, z in _mixtures(record["mix.test"])}
        steps = {key: _steps(rows) for key, rows in test.items()}
        if pseudo is None or per_class is not None:
            return cls(held, free, (), test, steps)
        y = pseudo["labels"]
        halves = [
            {key: Snapshot(part, y, mask, finite=True) for key, part in _mixtures(z)}
            for mask, z in zip(pseudo["seen"], pseudo["mix"], strict=True)
        ]
        return cls(held, free, halves, test, steps)

    @property
    def seen(self) -> Tensor:
        """[C] bool."""
        return self.held[AFTER].seen

    def evidence(self, mixture: Mixture, which: Tensor | None = None, **more: Snapshot) -> Evidence:
        """What a selector is given for a mixture: on all held-out rows, or on some."""
        pick = lambda key: self.held[key] if which is None else self.held[key].rows(which)  # noqa: E731
        kind = mixture[0]
        reference = pick((kind, 1.0)) if mixture != (kind, 1.0) else None
        return Evidence(seen=pick(mixture), before=pick((kind, 0.0)), reference=reference, **more)


@dataclass(frozen=True)
class Outcome:
    """What a choice came to on the rows that judge. All but `offset` are accuracies or differences of them."""

    all: float
    regret: float
    above: bool
    below: bool
    seen_loss: float


Way = Callable[[Case], Choice | None]


def _first(labels: Tensor, count: int) -> Tensor:
    """Indices of the first so many rows of each class."""
    return torch.cat([(labels == c).nonzero().squeeze(1)[:count] for c in labels.unique()]).sort().values


def _mixtures(z: Tensor) -> Iterator[tuple[Mixture, Tensor]]:
    """Of the weights, as cached [W, N, C]; and of the two networks' logarithmic probabilities."""
    z = z.float()
    first, last = z[0].log_softmax(dim=1), z[-1].log_softmax(dim=1)
    for index, weight in enumerate(WEIGHTS):
        yield ("weights", weight), z[index]
        yield ("outputs", weight), torch.lerp(first, last, weight)


def with_selector(name: str, mixture: Mixture = AFTER, **numbers: float) -> Way:
    """One mixture, and the offset of a selector of the library."""
    return lambda case: (mixture, find("selectors", name)(case.evidence(mixture), **numbers).offset)


def within_one_error(case: Case) -> Choice:
    """The smallest weight within one standard error of the best seen accuracy, and the largest offset of the budget."""
    right = {w: _right(case.held["weights", w]) for w in WEIGHTS}
    top, n = max(right.values()), len(case.held[AFTER])
    weight = next(w for w in WEIGHTS if right[w] >= top - (top * (1 - top) / n) ** 0.5)
    return ("weights", weight), find("selectors", "retention-budget")(case.evidence(("weights", weight))).offset


def automatic(
    kind: str = "weights",
    budget: float | None = BUDGET,
    prefer: Prefer = "balanced",
    free: bool = False,
    balance: float = 0.5,
) -> Way:
    """What `repair` does."""

    def way(case: Case) -> Choice:
        n = len(case.held[AFTER])
        apart = budget is not None and n >= ENOUGH_TO_DIVIDE
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        parts = {"mix": order[: n // 2], "offset": order[n // 2 :]} if apart else {"mix": order, "offset": order}

        @cache
        def ask(weight: float, part: str) -> Snapshot:
            key = kind, weight
            return case.unlabelled[key] if part == "unlabelled" else case.held[key].rows(parts[part])

        chosen = choose(
            ask,
            numbers={} if budget is None else {"budget": budget},
            prefer=None if budget is not None else prefer,
            balance=balance,
            extra=("unlabelled",) if free else (),
            apart=apart,
        )
        return (kind, chosen.mix.weight), chosen.offset

    return way


def pseudo_cross_validated(kinds: Sequence[str] = ()) -> Way:
    """The offset that is best on average over the pseudo splits: of the fine-tuned network, or of the best mixture."""

    def way(case: Case) -> Choice | None:
        if not case.pseudo:
            return None
        found = []
        for mixture in [key for key in case.held if key[0] in kinds] or [AFTER]:
            offsets, values = [], []
            for half in case.pseudo:
                points = by_classes(curve_of(_steps(half[mixture])), case.seen)
                offsets.append(float(points.offsets[points.all.argmax()]))
                values.append(float(points.all.max()))
            found.append((float(np.mean(values)), mixture, float(np.mean(offsets))))
        _, mixture, offset = max(found)
        return mixture, offset

    return way


def in_hindsight(*kinds: str, weight: float | None = None) -> Way:
    """No method: the best pair by the labels of the rows that judge."""

    def way(case: Case) -> Choice:
        keys = [key for key in case.steps if key[0] in kinds and weight in (None, key[1])]
        points = {key: best(curve_of(case.steps[key])) for key in keys}
        key = max(points, key=lambda key: points[key][1])
        return key, points[key][0]

    return way


WAYS: dict[str, Way] = {
    "pretrained": lambda case: (("weights", 0.0), 0.0),
    "fine-tuned": lambda case: (AFTER, 0.0),
    "fine-tuned + average logit gap": with_selector("average-logit-gap"),
    "fine-tuned + own class left out": with_selector("own-class-left-out"),
    "fine-tuned + gap matching": with_selector("gap-matching"),
    "fine-tuned + pseudo-absent": with_selector("pseudo-absent"),
    "fine-tuned + bolder": with_selector("bolder"),
    "fine-tuned + budget .05": with_selector("retention-budget"),
    "fine-tuned + pseudo cross-validation": pseudo_cross_validated(),
    "weights, pseudo cross-validation": pseudo_cross_validated(("weights",)),
    "weights .5 + bolder": with_selector("bolder", ("weights", 0.5)),
    "outputs .5 + bolder": with_selector("bolder", ("outputs", 0.5)),
    "weights within one error + budget .05": within_one_error,
    "weights, auto, budget .05": automatic(),
    "weights, auto, budget .1": automatic(budget=0.1),
    "weights, auto, prefer seen": automatic(budget=None, prefer="seen"),
    "weights, auto, prefer absent": automatic(budget=None, prefer="absent"),
    "weights, auto, prefer balanced": automatic(budget=None),
    "weights, auto, prefer balanced, no class balance": automatic(budget=None, balance=0),
    "outputs, auto, budget .05": automatic("outputs"),
    "outputs, auto, prefer balanced": automatic("outputs", budget=None),
    "outputs, auto, prefer balanced, no class balance": automatic("outputs", budget=None, balance=0),
    "weights, auto, unlabelled rows, budget .05": automatic(free=True),
    "weights, auto, unlabelled rows, prefer balanced": automatic(budget=None, free=True),
    "weights, auto, unlabelled rows, prefer balanced, no class balance": automatic(budget=None, free=True, balance=0),
    "outputs, auto, unlabelled rows, prefer balanced": automatic("outputs", budget=None, free=True),
    "(ceiling: best offset on the fine-tuned)": in_hindsight("weights", weight=1.0),
    "(ceiling: best weights and offset)": in_hindsight("weights"),
    "(ceiling: best of all)": in_hindsight("weights", "outputs"),
}


def judged(case: Case, ways: Mapping[str, Way] = WAYS) -> dict[str, Outcome]:
    """What every way comes to; ways that cannot choose here, for want of rows or classes, are left out."""
    ends = [_accuracies(case, (mixture, 0.0))[0] for mixture in (("weights", 0.0), AFTER)]
    offset_alone, _ = _accuracies(case, in_hindsight("weights", weight=1.0)(case))
    top, _ = _accuracies(case, in_hindsight("weights", "outputs")(case))
    _, kept = _accuracies(case, (AFTER, 0.0))
    made = {}
    for name, way in ways.items():
        try:
            choice = way(case)
        except BadInput:
            continue
        if choice is None:
            continue
        all_, seen = _accuracies(case, choice)
        made[name] = Outcome(
            all=all_,
            regret=top - all_,
            above=all_ > max(*ends, offset_alone),
            below=all_ < max(ends) - 0.01,
            seen_loss=kept - seen,
        )
    return made


def _accuracies(case: Case, choice: Choice | None) -> tuple[float, float]:
    """Of all the rows that judge, and of the seen ones."""
    assert choice is not None
    mixture, offset = choice
    plain = isinstance(offset, float)
    steps = case.steps[mixture] if plain else _steps(case.test[mixture].through(offset))
    at = offset if plain else 0.0
    kept, won = int((steps.lost > at).sum()), int((steps.won < at).sum())
    return (kept + won) / (steps.num_seen + steps.num_absent), kept / steps.num_seen


def _steps(rows: Snapshot) -> Steps:
    assert rows.labels is not None
    return steps_of(margins(rows.logits, rows.labels, rows.seen))


def _right(rows: Snapshot) -> float:
    assert rows.labels is not None
    return float(margins(rows.logits, rows.labels, rows.seen).right.double().mean())


def table(outcomes: Mapping[str, Sequence[dict[str, Outcome]]]) -> str:
    """Means over scenarios, by way; regret by family too, with a 95 % bootstrap interval over the scenarios."""
    families = list(outcomes)
    head = ["", "all", "regret", "95 %", "above", "below", "seen lost", *families]
    lines = [head, ["---"] * len(head)]
    every = [outcome for of_family in outcomes.values() for outcome in of_family]
    for name in dict.fromkeys(key for outcome in every for key in outcome):
        rows = [outcome[name] for outcome in every if name in outcome]
        regret = np.array([row.regret for row in rows])
        draws = np.random.default_rng(0).integers(0, len(rows), (2000, len(rows)))
        low, high = np.quantile(regret[draws].mean(axis=1), [0.025, 0.975])
        mean = lambda key, rows=rows: float(np.mean([getattr(row, key) for row in rows]))  # noqa: E731
        by_family = [_mean([o[name].regret for o in outcomes[family] if name in o]) for family in families]
        few = f" ({len(rows)})" if len(rows) < len(every) else ""
        shares = [f"{mean(key):.0%}" for key in ("above", "below")]
        numbers = [f"{mean('all'):.3f}", f"{mean('regret'):.4f}", f"{low:.3f} to {high:.3f}"]
        lines.append([f"{name}{few}", *numbers, *shares, f"{mean('seen_loss'):.3f}", *by_family])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "–"
