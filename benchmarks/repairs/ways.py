"""Ways of choosing a mixture and an offset: those of the library, and what is best in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from benchmarks.repairs.alpha_rules import within_errors
from benchmarks.repairs.cases import AFTER, KINDS, Answers, Case, Mixture, Recorded, steps
from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.protocol import Calibrator, Fitted
from reclaim.core.registry import find
from reclaim.repairs.choices import Choices
from reclaim.repairs.plan import plan
from reclaim.repairs.rows import MoreEvidence, Rows, separates
from reclaim.snapshots.metrics.tradeoff import by_classes, curve_of

__all__ = [
    "BUDGET",
    "Choice",
    "Way",
    "accuracies",
    "automatic",
    "in_hindsight",
    "pseudo_cross_validated",
    "then",
    "with_selector",
    "within_one_error",
]

Offset = float | Calibrator  # of absent logits; or what a calibrator makes of all of them
Choice = tuple[Mixture, Offset]
Way = Callable[[Case], Choice | None]
BUDGET = 0.05


def with_selector(name: str, mixture: Mixture = AFTER, **numbers: float) -> Way:
    """One mixture, and the offset of a selector of the library."""

    def way(case: Case) -> Choice:
        before = case.held["weights", 0.0]
        evidence = Evidence(seen=case.held[mixture], before=before, reference=case.held[AFTER])
        return mixture, find("selectors", name)(evidence, **numbers).offset

    return way


def within_one_error(case: Case) -> Choice | None:
    """The smallest alpha within one standard error of the best seen accuracy, and the largest offset of the budget."""
    return with_selector("retention-budget", ("weights", within_errors(case.held, 1)))(case)


def automatic(
    kind: str = "weights",
    choices: Choices = Choices(),
    more: str | None = None,
    rule: Callable[[Answers], float] | None = None,
) -> Way:
    """What `repair` does with the recorded answers; with a rule for alpha, the rest of it.

    Args:
        more: the rows of the case that are given as more evidence.
    """

    def way(case: Case) -> Choice | None:
        if more and getattr(case, more) is None:
            return None
        told = choices if rule is None else replace(choices, mix=rule(case.held))
        chosen = plan(Recorded(kind), _divided(case, told), told, _evidence(case, more))
        return (kind, chosen.alpha), chosen.offset

    return way


def _divided(case: Case, choices: Choices) -> Rows[Answers]:
    """The held-out rows in random order: one half chooses and the other certifies, if `repair` would separate them."""
    n = len(case.held)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    if not separates(n, choices):
        held = case.held.rows(order)
        return Rows(held, held, held, case.test)
    return Rows(case.held, case.held.rows(order[: n // 2]), case.held.rows(order[n // 2 :]), case.test)


def _evidence(case: Case, more: str | None) -> MoreEvidence[Answers]:
    if more is None:
        return MoreEvidence()
    return MoreEvidence(**{"unlabelled" if more == "unequal" else more: getattr(case, more)})


def then(way: Way, calibrator: str) -> Way:
    """A way, and a calibrator fitted to the held-out rows after it."""

    def both(case: Case) -> Choice:
        mixture, offset = way(case)  # type: ignore[misc]
        if isinstance(offset, float):
            offset = LogitOffset(offset, Fitted(tuple(case.seen.tolist())))
        rows = case.held[mixture].through(offset)
        return mixture, Chain((offset, find("calibrators", calibrator).fit(rows.logits, rows.labels, rows.seen)))

    return both


def pseudo_cross_validated(kinds: Sequence[str] = ()) -> Way:
    """The offset that is best on average over the pseudo splits: of the fine-tuned network, or of the best mixture."""

    def way(case: Case) -> Choice | None:
        if not case.pseudo:
            return None
        found = []
        for mixture in [(kind, alpha) for kind in kinds for alpha in KINDS[kind]] or [AFTER]:
            offsets, values = [], []
            for half in case.pseudo:
                points = by_classes(curve_of(steps(half[mixture])), case.seen)
                offsets.append(float(points.offsets[points.all.argmax()]))
                values.append(float(points.all.max()))
            found.append((float(np.mean(values)), mixture, float(np.mean(offsets))))
        _, mixture, offset = max(found)
        return mixture, offset

    return way


def in_hindsight(*kinds: str, alpha: float | None = None, budget: float | None = None) -> Way:
    """No method: the best pair by the labels of the rows that judge; with a budget, of those that keep it there."""

    def way(case: Case) -> Choice:
        least = 0.0 if budget is None else accuracies(case, (AFTER, 0.0))[1] - budget
        found = []
        for mixture in [key for key in case.steps if key[0] in kinds and alpha in (None, key[1])]:
            points = curve_of(case.steps[mixture])
            kept = points.all.where(points.seen >= least - 1e-12, -1.0)
            found.append((float(kept.max()), mixture, float(points.offsets[kept.argmax()])))
        _, mixture, offset = max(found)
        return mixture, offset

    return way


def accuracies(case: Case, choice: Choice | None) -> tuple[float, float]:
    """Of all the rows that judge, and of the seen ones."""
    assert choice is not None
    mixture, offset = choice
    if isinstance(offset, float):
        made, at = case.steps[mixture], offset
    else:
        made, at = steps(case.test[mixture].through(offset)), 0.0
    kept, won = int((made.lost > at).sum()), int((made.won < at).sum())
    return (kept + won) / (made.num_seen + made.num_absent), kept / made.num_seen
