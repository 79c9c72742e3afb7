"""What every way of choosing a mixture and an offset costs on recorded scenarios, beside the best pair in hindsight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.repairs.alpha_rules import RULES
from benchmarks.repairs.cases import AFTER, Case
from benchmarks.repairs.ways import (
    BUDGET,
    Way,
    accuracies,
    automatic,
    in_hindsight,
    pseudo_cross_validated,
    then,
    with_selector,
    within_one_error,
)
from reclaim.core.errors import BadInput
from reclaim.repairs.choices import Choices

__all__ = ["BALANCED", "OF_ALPHAS", "OUTPUTS_BALANCED", "WAYS", "Outcome", "judged", "table"]


@dataclass(frozen=True)
class Outcome:
    """What a choice came to on the rows that judge: accuracies, or differences of them."""

    all: float
    regret: float
    above: bool
    below: bool
    seen_loss: float


PREFERRED = Choices(prefer="balanced")
UNSHIFTED = replace(PREFERRED, class_shifts=0.0)
BALANCED = automatic(choices=PREFERRED)
OUTPUTS_BALANCED = automatic("outputs", PREFERRED)
WAYS: dict[str, Way] = {
    "pretrained": lambda case: (("weights", 0.0), 0.0),
    "fine-tuned": lambda case: (AFTER, 0.0),
    "fine-tuned + average logit gap": with_selector("average-logit-gap"),
    "fine-tuned + own class left out": with_selector("own-class-left-out"),
    "fine-tuned + gap matching": with_selector("gap-matching"),
    "fine-tuned + pseudo-absent": with_selector("pseudo-absent"),
    "fine-tuned + larger-of-two": with_selector("larger-of-two"),
    "fine-tuned + budget .05": with_selector("retention-budget"),
    "fine-tuned + pseudo cross-validation": pseudo_cross_validated(),
    "weights, pseudo cross-validation": pseudo_cross_validated(("weights",)),
    "weights .5 + larger-of-two": with_selector("larger-of-two", ("weights", 0.5)),
    "head .5 + larger-of-two": with_selector("larger-of-two", ("head", 0.5)),
    "backbone .5 + larger-of-two": with_selector("larger-of-two", ("backbone", 0.5)),
    "outputs .5 + larger-of-two": with_selector("larger-of-two", ("outputs", 0.5)),
    "weights within one error + budget .05": within_one_error,
    "weights, auto, budget .05": automatic(),
    "weights, auto, budget .1": automatic(choices=Choices(numbers={"budget": 0.1})),
    "weights, auto, prefer seen": automatic(choices=Choices(prefer="seen")),
    "weights, auto, prefer absent": automatic(choices=Choices(prefer="absent")),
    "weights, auto, prefer balanced": BALANCED,
    "– without class shifts": automatic(choices=UNSHIFTED),
    "– then bias-corrected temperature": then(BALANCED, "bias-corrected-temperature"),
    "– then vector": then(BALANCED, "vector"),
    "– then isotonic": then(BALANCED, "isotonic"),
    "outputs, auto, budget .05": automatic("outputs"),
    "outputs, auto, prefer balanced": OUTPUTS_BALANCED,
    "– without class shifts, outputs": automatic("outputs", UNSHIFTED),
    "gated outputs, auto, prefer balanced": automatic("gated", PREFERRED),
    "weights, auto, unlabelled rows, budget .05": automatic(more="unlabelled"),
    "weights, auto, unlabelled rows, prefer balanced": automatic(choices=PREFERRED, more="unlabelled"),
    "– without class shifts, unlabelled rows": automatic(choices=UNSHIFTED, more="unlabelled"),
    "weights, auto, unlabelled rows of unequal classes, prefer balanced": automatic(choices=PREFERRED, more="unequal"),
    "– without class shifts, unequal classes": automatic(choices=UNSHIFTED, more="unequal"),
    "outputs, auto, unlabelled rows, prefer balanced": automatic("outputs", PREFERRED, more="unlabelled"),
    "weights, auto, 5 labelled rows per class": automatic(choices=PREFERRED, more="labelled"),
    "– without class shifts, labelled rows": automatic(choices=UNSHIFTED, more="labelled"),
    "outputs, auto, 5 labelled rows per class": automatic("outputs", PREFERRED, more="labelled"),
    "weights, auto, source rows": automatic(choices=replace(PREFERRED, select="source-data"), more="source"),
    "(ceiling: best offset on the fine-tuned)": in_hindsight("weights", alpha=1.0),
    "(ceiling: best weights and offset within the budget)": in_hindsight("weights", budget=BUDGET),
    "(ceiling: best head or backbone and offset)": in_hindsight("head", "backbone"),
    "(ceiling: best weights and offset)": in_hindsight("weights"),
    "(ceiling: best gated outputs and offset)": in_hindsight("gated"),
    "(ceiling: best of weights and outputs)": in_hindsight("weights", "outputs"),
}

OF_ALPHAS: dict[str, Way] = {name: automatic(choices=PREFERRED, rule=rule) for name, rule in RULES.items()} | {
    "pseudo-absent, twins: what `repair` does": BALANCED,
    "(ceiling: best weights and offset)": in_hindsight("weights"),
}


def judged(case: Case, ways: Mapping[str, Way] = WAYS) -> dict[str, Outcome]:
    """What every way comes to; ways that cannot choose here, for want of rows or classes, are left out."""
    ends = [accuracies(case, (mixture, 0.0))[0] for mixture in (("weights", 0.0), AFTER)]
    offset_alone, _ = accuracies(case, in_hindsight("weights", alpha=1.0)(case))
    top, _ = accuracies(case, in_hindsight("weights", "outputs")(case))
    _, kept = accuracies(case, (AFTER, 0.0))
    made = {}
    for name, way in ways.items():
        try:
            choice = way(case)
        except BadInput:
            continue
        if choice is None:
            continue
        all_, seen = accuracies(case, choice)
        made[name] = Outcome(
            all=all_,
            regret=top - all_,
            above=all_ > max(*ends, offset_alone),
            below=all_ < max(ends) - 0.01,
            seen_loss=kept - seen,
        )
    return made


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
        by_family = [_mean([o[name].regret for o in outcomes[family] if name in o]) for family in families]
        few = f" ({len(rows)})" if len(rows) < len(every) else ""
        shares = [f"{_mean_of(rows, key):.0%}" for key in ("above", "below")]
        numbers = [f"{_mean_of(rows, 'all'):.3f}", f"{_mean_of(rows, 'regret'):.4f}", f"{low:.3f} to {high:.3f}"]
        lines.append([f"{name}{few}", *numbers, *shares, f"{_mean_of(rows, 'seen_loss'):.3f}", *by_family])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "–"


def _mean_of(rows: Sequence[Outcome], key: str) -> float:
    return float(np.mean([getattr(row, key) for row in rows]))
