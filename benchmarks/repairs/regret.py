"""Every way of choosing a mixture and an offset, on cached scenarios, beside the best pair in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch

from benchmarks.repairs.cases import AFTER, KINDS, Answers, Case, Mixture, steps
from benchmarks.repairs.weight_rules import RULES, within_errors
from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.protocol import Calibrator
from reclaim.core.errors import BadInput
from reclaim.core.registry import find
from reclaim.repairs.alpha import Prefer
from reclaim.repairs.plan import choose, divided
from reclaim.snapshots.metrics.tradeoff import by_classes, curve_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["OF_WEIGHTS", "WAYS", "Outcome", "judged", "table"]

Offset = float | Calibrator  # of absent logits; or what a calibrator makes of all of them
Choice = tuple[Mixture, Offset]
Way = Callable[[Case], Choice | None]
BUDGET = 0.05


@dataclass(frozen=True)
class Outcome:
    """What a choice came to on the rows that judge: accuracies, or differences of them."""

    all: float
    regret: float
    above: bool
    below: bool
    seen_loss: float


def with_selector(name: str, mixture: Mixture = AFTER, **numbers: float) -> Way:
    """One mixture, and the offset of a selector of the library."""

    def way(case: Case) -> Choice:
        before = case.held["weights", 0.0]
        evidence = Evidence(seen=case.held[mixture], before=before, reference=case.held[AFTER])
        return mixture, find("selectors", name)(evidence, **numbers).offset

    return way


def within_one_error(case: Case) -> Choice:
    """The smallest weight within one standard error of the best seen accuracy, and the largest offset of the budget."""
    return with_selector("retention-budget", ("weights", within_errors(case.held, 1)))(case)  # type: ignore[return-value]


def automatic(
    kind: str = "weights",
    budget: float | None = BUDGET,
    prefer: Prefer = "balanced",
    more: str | None = None,
    select: str = "auto",
    balance: float = 0.5,
    rule: Callable[[Answers], float] | None = None,
) -> Way:
    """What `repair` does; with a rule for the weight, the rest of it."""

    def way(case: Case) -> Choice | None:
        if more and getattr(case, more) is None:
            return None
        n, preferred = len(case.held[AFTER]), prefer if budget is None else None
        mix: float | Literal["auto"] = "auto" if rule is None else rule(case.held)
        apart = divided(n, mix, preferred, balance)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        parts = {"mix": order[: n // 2], "offset": order[n // 2 :]} if apart else {"mix": order, "offset": order}

        @cache
        def ask(weight: float, part: str) -> Snapshot:
            answers = case.held.rows(parts[part]) if part in parts else getattr(case, more or part)
            return answers[kind if 0 < weight < 1 or kind == "gated" else "weights", weight]

        chosen = choose(
            ask,
            mix=mix,
            select=select,
            numbers={} if budget is None else {"budget": budget},
            prefer=preferred,
            balance=balance,
            extra=("unlabelled" if more == "unequal" else more,) if more else (),
            apart=apart,
        )
        return (kind, chosen.mix.weight), chosen.offset

    return way


def then(way: Way, calibrator: str) -> Way:
    """A way, and a calibrator fitted to the held-out rows after it."""

    def both(case: Case) -> Choice:
        mixture, offset = way(case)  # type: ignore[misc]
        if isinstance(offset, float):
            offset = LogitOffset(offset, tuple(case.seen.tolist()))
        rows = case.held[mixture].through(offset)
        return mixture, Chain((offset, find("calibrators", calibrator).fit(rows.logits, rows.labels, rows.seen)))

    return both


def pseudo_cross_validated(kinds: Sequence[str] = ()) -> Way:
    """The offset that is best on average over the pseudo splits: of the fine-tuned network, or of the best mixture."""

    def way(case: Case) -> Choice | None:
        if not case.pseudo:
            return None
        found = []
        for mixture in [(kind, weight) for kind in kinds for weight in KINDS[kind]] or [AFTER]:
            offsets, values = [], []
            for half in case.pseudo:
                points = by_classes(curve_of(steps(half[mixture])), case.seen)
                offsets.append(float(points.offsets[points.all.argmax()]))
                values.append(float(points.all.max()))
            found.append((float(np.mean(values)), mixture, float(np.mean(offsets))))
        _, mixture, offset = max(found)
        return mixture, offset

    return way


def in_hindsight(*kinds: str, weight: float | None = None, budget: float | None = None) -> Way:
    """No method: the best pair by the labels of the rows that judge; with a budget, of those that keep it there."""

    def way(case: Case) -> Choice:
        least = 0.0 if budget is None else _accuracies(case, (AFTER, 0.0))[1] - budget
        found = []
        for mixture in [key for key in case.steps if key[0] in kinds and weight in (None, key[1])]:
            points = curve_of(case.steps[mixture])
            kept = points.all.where(points.seen >= least - 1e-12, -1.0)
            found.append((float(kept.max()), mixture, float(points.offsets[kept.argmax()])))
        _, mixture, offset = max(found)
        return mixture, offset

    return way


BALANCED = automatic(budget=None)
OUTPUTS_BALANCED = automatic("outputs", budget=None)
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
    "head .5 + bolder": with_selector("bolder", ("head", 0.5)),
    "backbone .5 + bolder": with_selector("bolder", ("backbone", 0.5)),
    "outputs .5 + bolder": with_selector("bolder", ("outputs", 0.5)),
    "weights within one error + budget .05": within_one_error,
    "weights, auto, budget .05": automatic(),
    "weights, auto, budget .1": automatic(budget=0.1),
    "weights, auto, prefer seen": automatic(budget=None, prefer="seen"),
    "weights, auto, prefer absent": automatic(budget=None, prefer="absent"),
    "weights, auto, prefer balanced": BALANCED,
    "– without class balance": automatic(budget=None, balance=0),
    "– then bias-corrected temperature": then(BALANCED, "bias-corrected-temperature"),
    "– then vector": then(BALANCED, "vector"),
    "– then isotonic": then(BALANCED, "isotonic"),
    "outputs, auto, budget .05": automatic("outputs"),
    "outputs, auto, prefer balanced": OUTPUTS_BALANCED,
    "– without class balance, outputs": automatic("outputs", budget=None, balance=0),
    "gated outputs, auto, prefer balanced": automatic("gated", budget=None),
    "weights, auto, unlabelled rows, budget .05": automatic(more="unlabelled"),
    "weights, auto, unlabelled rows, prefer balanced": automatic(budget=None, more="unlabelled"),
    "– without class balance, unlabelled rows": automatic(budget=None, more="unlabelled", balance=0),
    "weights, auto, unlabelled rows of unequal classes, prefer balanced": automatic(budget=None, more="unequal"),
    "– without class balance, unequal classes": automatic(budget=None, more="unequal", balance=0),
    "outputs, auto, unlabelled rows, prefer balanced": automatic("outputs", budget=None, more="unlabelled"),
    "weights, auto, 5 labelled rows per class": automatic(budget=None, more="labelled"),
    "– without class balance, labelled rows": automatic(budget=None, more="labelled", balance=0),
    "outputs, auto, 5 labelled rows per class": automatic("outputs", budget=None, more="labelled"),
    "weights, auto, source rows": automatic(budget=None, more="source", select="source-data"),
    "(ceiling: best offset on the fine-tuned)": in_hindsight("weights", weight=1.0),
    "(ceiling: best weights and offset within the budget)": in_hindsight("weights", budget=BUDGET),
    "(ceiling: best head or backbone and offset)": in_hindsight("head", "backbone"),
    "(ceiling: best weights and offset)": in_hindsight("weights"),
    "(ceiling: best gated outputs and offset)": in_hindsight("gated"),
    "(ceiling: best of weights and outputs)": in_hindsight("weights", "outputs"),
}

OF_WEIGHTS: dict[str, Way] = {name: automatic(budget=None, rule=rule) for name, rule in RULES.items()} | {
    "pseudo-absent, twins: what `repair` does": BALANCED,
    "(ceiling: best weights and offset)": in_hindsight("weights"),
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
    if isinstance(offset, float):
        made, at = case.steps[mixture], offset
    else:
        made, at = steps(case.test[mixture].through(offset)), 0.0
    kept, won = int((made.lost > at).sum()), int((made.won < at).sum())
    return (kept + won) / (made.num_seen + made.num_absent), kept / made.num_seen


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
