"""Every mixture with every selector and every calibrator: the mean regret of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np

from benchmarks.repairs.alpha_rules import within_errors
from benchmarks.repairs.cases import AFTER, Case, Mixture
from benchmarks.repairs.regret import BALANCED, OUTPUTS_BALANCED, Outcome
from benchmarks.repairs.ways import Choice, Way, then, with_selector

__all__ = ["CALIBRATORS", "grid", "grid_table"]

MIXTURES: dict[str, Callable[[Case], Mixture]] = {
    "fine-tuned": lambda case: AFTER,
    "weights .5": lambda case: ("weights", 0.5),
    "head .5": lambda case: ("head", 0.5),
    "backbone .5": lambda case: ("backbone", 0.5),
    "outputs .5": lambda case: ("outputs", 0.5),
    "weights within one error": lambda case: ("weights", within_errors(case.held, 1)),
    "weights as repair": lambda case: _mixture(BALANCED, case),
    "outputs as repair": lambda case: _mixture(OUTPUTS_BALANCED, case),
}
SELECTORS = (
    "average-logit-gap",
    "own-class-left-out",
    "gap-matching",
    "pseudo-absent",
    "larger-of-two",
    "retention-budget",
    "auto",
)
CALIBRATORS = ("none", "bias-corrected-temperature", "vector", "isotonic", "beta", "dirichlet")


@lru_cache(maxsize=len(MIXTURES))
def mixture_of(case: Case, name: str) -> Mixture:
    """One of the mixtures, chosen once."""
    return MIXTURES[name](case)


def chosen(case: Case, mixture: str, selector: str, calibrator: str) -> Choice | None:
    """A mixture, the offset of a selector for it, and a calibrator fitted to the held-out rows after both."""
    way = with_selector(selector, mixture_of(case, mixture))
    return way(case) if calibrator == "none" else then(way, calibrator)(case)


def _mixture(way: Way, case: Case) -> Mixture:
    choice = way(case)
    assert choice is not None
    return choice[0]


def _name(mixture: str, selector: str, calibrator: str) -> str:
    return f"{mixture}|{selector}|{calibrator}"


def grid(calibrators: Sequence[str]) -> dict[str, Way]:
    """The ways, with some calibrators; "none" is one."""
    return {
        _name(mixture, selector, calibrator): partial(chosen, mixture=mixture, selector=selector, calibrator=calibrator)
        for mixture in MIXTURES
        for selector in SELECTORS
        for calibrator in calibrators
    }


def grid_table(outcomes: Mapping[str, Sequence[dict[str, Outcome]]]) -> str:
    """Mean regret over all scenarios: a line for each mixture and calibrator, a column for each selector."""
    every = [outcome for of_family in outcomes.values() for outcome in of_family]
    lines = [["mixture", "then", *SELECTORS], ["---"] * (2 + len(SELECTORS))]
    for mixture in MIXTURES:
        for calibrator in CALIBRATORS:
            names = [_name(mixture, selector, calibrator) for selector in SELECTORS]
            if not any(name in outcome for name in names for outcome in every):
                continue
            kept = [[outcome[name].regret for outcome in every if name in outcome] for name in names]
            cells = [f"{np.mean(r):.4f}" + (f" ({len(r)})" if len(r) < len(every) else "") if r else "–" for r in kept]
            lines.append([mixture, calibrator, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
