"""Every way of choosing a mixture and an offset, on cached scenarios, beside the best pair in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scenarios.cache import Record
from torch import Tensor

from reclaim.errors import BadInput
from reclaim.metrics.margins import margins
from reclaim.metrics.tradeoff import Steps, accuracies_at, best, by_classes, curve_of, steps_of
from reclaim.mixing import WEIGHTS, Prefer, most_promising
from reclaim.plugins import find
from reclaim.selectors import Evidence
from reclaim.snapshot import Snapshot

__all__ = ["WAYS", "Case", "Outcome", "judged", "table"]

Mixture = tuple[str, float]  # "weights" or "outputs", and the share of the fine-tuned network
Choice = tuple[Mixture, float]  # a mixture and an offset
AFTER: Mixture = ("weights", 1.0)
BUDGET = 0.05
MANY = 200  # held-out rows from which one half chooses the mixture and the other the offset, as in `repair`


@dataclass(frozen=True)
class Case:
    """A scenario as the ways of choosing see it.

    Attributes:
        held: answers of every mixture on held-out rows of seen classes.
        unlabelled: the same on rows of the target domain, without labels.
        pseudo: per pseudo split, the same on held-out rows, of networks fine-tuned on one half of the seen classes.
        test: the steps of the trade-off of every mixture on the rows that judge.
    """

    held: Mapping[Mixture, Snapshot]
    unlabelled: Mapping[Mixture, Snapshot]
    pseudo: Sequence[Mapping[Mixture, Snapshot]]
    test: Mapping[Mixture, Steps]

    @classmethod
    def of(cls, record: Record, pseudo: Record | None, per_class: int | None = None) -> Case:
        """From the cache; with `per_class`, only so many held-out rows of each class."""
        seen, y = record["seen"], record["labels.held"]
        rows = torch.arange(len(y)) if per_class is None else _first(y, per_class)
        held = {key: Snapshot(z[rows], y[rows], seen, finite=True) for key, z in _mixtures(record["mix.held"])}
        free = {key: Snapshot(z, None, seen, finite=True) for key, z in _mixtures(record["mix.unlabelled"])}
        test = {}
        for key, z in _mixtures(record["mix.test"]):
            test[key] = steps_of(margins(z, record["labels.test"], seen))
        if pseudo is None or per_class is not None:
            return cls(held, free, (), test)
        y = pseudo["labels"]
        halves = [
            {key: Snapshot(part, y, mask, finite=True) for key, part in _mixtures(z)}
            for mask, z in zip(pseudo["seen"], pseudo["mix"], strict=True)
        ]
        return cls(held, free, halves, test)

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
    kind: str = "weights", budget: float | None = BUDGET, prefer: Prefer = "balanced", free: bool = False
) -> Way:
    """What `repair` does: with a budget the mixture is chosen on one half of the rows, its offset on the other."""

    def way(case: Case) -> Choice:
        n = len(case.held[AFTER])
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        apart = budget is not None and n >= MANY
        first, second = (order[: n // 2], order[n // 2 :]) if apart else (order, order)
        mixed = {w: case.held[kind, w].rows(first) for w in WEIGHTS}
        mixture = kind, most_promising(mixed[0.0], mixed, budget=budget, prefer=prefer).weight
        evidence = case.evidence(mixture, second, **({"unlabelled": case.unlabelled[mixture]} if free else {}))
        if budget is not None:
            return mixture, find("selectors", "auto")(evidence, budget=budget).offset
        return mixture, find("selectors", "rate-matching" if free else "bolder")(evidence).offset

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
                rows = half[mixture]
                assert rows.labels is not None
                points = by_classes(curve_of(steps_of(margins(rows.logits, rows.labels, rows.seen))), case.seen)
                offsets.append(float(points.offsets[points.all.argmax()]))
                values.append(float(points.all.max()))
            found.append((float(np.mean(values)), mixture, float(np.mean(offsets))))
        _, mixture, offset = max(found)
        return mixture, offset

    return way


def in_hindsight(*kinds: str, weight: float | None = None) -> Way:
    """No method: the best pair by the labels of the rows that judge."""

    def way(case: Case) -> Choice:
        keys = [key for key in case.test if key[0] in kinds and weight in (None, key[1])]
        points = {key: best(curve_of(case.test[key])) for key in keys}
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
    "outputs, auto, prefer balanced": automatic("outputs", budget=None),
    "weights, auto, unlabelled rows, budget .05": automatic(free=True),
    "weights, auto, unlabelled rows, prefer balanced": automatic(budget=None, free=True),
    "outputs, auto, unlabelled rows, prefer balanced": automatic("outputs", budget=None, free=True),
    "(ceiling: best offset on the fine-tuned)": in_hindsight("weights", weight=1.0),
    "(ceiling: best weights and offset)": in_hindsight("weights"),
    "(ceiling: best of all)": in_hindsight("weights", "outputs"),
}


def judged(case: Case, ways: Mapping[str, Way] = WAYS) -> dict[str, Outcome]:
    """What every way comes to; ways that cannot choose here, for want of rows or classes, are left out."""
    value = lambda mixture, offset: _overall(case.test[mixture], offset)  # noqa: E731
    ends = value(("weights", 0.0), 0.0), value(AFTER, 0.0)
    offset_alone = value(*in_hindsight("weights", weight=1.0)(case))  # type: ignore[misc]
    top = value(*in_hindsight("weights", "outputs")(case))  # type: ignore[misc]
    made = {}
    for name, way in ways.items():
        try:
            choice = way(case)
        except BadInput:
            continue
        if choice is None:
            continue
        all_ = value(*choice)
        made[name] = Outcome(
            all=all_,
            regret=top - all_,
            above=all_ > max(*ends, offset_alone),
            below=all_ < max(ends) - 0.01,
            seen_loss=accuracies_at(case.test[AFTER], 0.0)[0] - accuracies_at(case.test[choice[0]], choice[1])[0],
        )
    return made


def _overall(steps: Steps, offset: float) -> float:
    kept, won = int((steps.lost > offset).sum()), int((steps.won < offset).sum())
    return (kept + won) / (steps.num_seen + steps.num_absent)


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
