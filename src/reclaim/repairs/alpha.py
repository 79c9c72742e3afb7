"""How far to stay with the fine-tuned model: the alpha of the mixture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar, get_args

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.auto import auto, without_budget
from reclaim.calibration.selectors.pseudo_absent import estimated, pseudo_absent
from reclaim.calibration.selectors.retention_budget import rows_needed
from reclaim.core.groups import units
from reclaim.core.registry import find
from reclaim.repairs.choices import Prefer
from reclaim.repairs.mixtures import Mixtures
from reclaim.repairs.rows import MoreEvidence
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Steps, accuracies_at, steps_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["ALPHAS", "PULL", "ChosenAlpha", "Tried", "choose_alpha"]

ALPHAS = tuple(step / 10 for step in range(11))
PULL = 0.1

_ROUNDING = 1e-9  # in accuracy: far less than a row, far more than the last digits
R = TypeVar("R")


@dataclass(frozen=True)
class Tried:
    """A mixture that was looked at.

    Attributes:
        alpha: 0 is the pretrained model, 1 the fine-tuned one.
        offset: the one it would get.
        seen: accuracy on rows of seen classes with it.
        absent, all: accuracy on absent classes and on all of them, see `ChosenAlpha.estimated`.
        allowed: whether the budget is certified.
    """

    alpha: float
    offset: float
    seen: float
    absent: float
    all: float
    allowed: bool


@dataclass(frozen=True)
class ChosenAlpha:
    """The alpha of a repair, and how it was chosen.

    Attributes:
        alpha: 0 is the pretrained model, 1 the fine-tuned one.
        reason: why this one.
        tried: the mixtures that were looked at.
        rows: held-out rows that chose it.
        groups: how many groups these rows are of, where they belong together; None where each stands alone.
        preferences: what would be taken without a budget, by the classes that count more, on the same rows.
        estimated: whether the accuracies on absent classes are estimates, because no row of one was given.
    """

    alpha: float
    reason: str
    tried: tuple[Tried, ...] = ()
    rows: int = 0
    preferences: Mapping[Prefer, Tried] = field(default_factory=dict)
    estimated: bool = True
    groups: int | None = None

    @property
    def taken(self) -> Tried | None:
        """The mixture of this alpha, if it was looked at."""
        return next((tried for tried in self.tried if tried.alpha == self.alpha), None)


def choose_alpha(
    mixtures: Mixtures[R],
    rows: R,
    evidence: MoreEvidence[R] = MoreEvidence(),
    *,
    before: Snapshot | None = None,
    reference: Snapshot | None = None,
    budget: float | None = 0.05,
    prefer: Prefer = "balanced",
    pull: float = PULL,
    alphas: Sequence[float] = ALPHAS,
    least: float = 0.0,
) -> ChosenAlpha:
    """The alpha with the best estimated accuracy over all classes, pulled towards the share of seen classes.

        α* = argmax over α ∈ alphas, allowed(α), of   s A_S(α) + (1 - s) A_U(α) - pull (α - s)²,    s = |S| / |Y|

    Each α has the offset it would get: that of `auto` within the budget, or the best one `without_budget`. A_S is the
    accuracy of `rows`, A_U an estimate: that of their pseudo-absent twins (`pseudo_absent`). Estimates of neighbours
    differ by less than their error. So α pays for its distance from s, where the best one lies before anything is
    known: with all classes seen, nothing need be given up.

    Args:
        mixtures: what answers at an alpha.
        rows: held-out rows of seen classes. With one seen class nothing can be estimated, and α* is 1.
        evidence: unlabelled rows choose the offsets; labelled ones measure A_S and A_U too.
        before: the pretrained model's answers on `rows`; default: the mixture of alpha 0.
        reference: answers of the model against which the budget counts; default: the mixture of alpha 1.
        budget: the seen accuracy that may be lost; None allows every α. If no α keeps it, α* is 1.
        prefer: "seen" and "absent" count the classes of that group twice, also in s.
        pull: in accuracy.
        alphas: the candidates.
        least: the least offset that may be chosen (`Evidence`).

    Source: Reclaim; docs/results/repair.md has what it is measured against.
    """
    before = mixtures.answers(0.0, rows) if before is None else before
    reference = mixtures.answers(1.0, rows) if reference is None else reference
    if int(before.seen.sum()) - len(before.lacks) < 2:
        return ChosenAlpha(1.0, "with one seen class there is nothing to imitate absent ones by")
    start = pseudo_absent(Evidence(seen=before, before=before)).details["start"]
    evidences = ((alpha, _evidence_at(alpha, mixtures, rows, evidence, before, reference, least)) for alpha in alphas)
    pairs = [_tried(alpha, given, budget, start) for alpha, given in evidences]
    tried, unlimited = tuple(within for within, _ in pairs), [free for _, free in pairs]
    preferences = {preferred: best(unlimited, seen_share(before, preferred), pull) for preferred in get_args(Prefer)}
    allowed = [mixture for mixture in tried if mixture.allowed]
    if not allowed:
        reason = f"no mixture keeps the budget of {budget:g} on {len(before)} held-out rows"
        return ChosenAlpha(1.0, reason, tried, len(before), preferences, groups=_groups(before))
    s = seen_share(before, prefer)
    taken = best(allowed, s, pull)
    judges = before if evidence.labelled is None else mixtures.answers(taken.alpha, evidence.labelled)
    reason = _measured(taken, judges, evidence.labelled is None) + _criterion(tried, budget, prefer, pull, s)
    estimated = evidence.labelled is None
    return ChosenAlpha(taken.alpha, reason, tried, len(judges), preferences, estimated, _groups(judges))


def _groups(rows: Snapshot) -> int | None:
    return None if rows.groups is None else units(rows.groups, len(rows))


def seen_share(rows: Snapshot, prefer: Prefer = "balanced") -> float:
    """s: the share of seen classes, where each class counts once, or those of a group twice."""
    share = float(rows.seen.double().mean())
    seen, absent = {"balanced": (1, 1), "seen": (2, 1), "absent": (1, 2)}[prefer]
    return seen * share / (seen * share + absent * (1 - share))


def best(tried: Iterable[Tried], s: float, pull: float) -> Tried:
    """The mixture with the largest s A_S + (1 - s) A_U - pull (α - s)².

    Of equals, which no rounding may tell apart, it is the nearest to s; of two as near, the one of the larger α.
    """
    scores = {mixture: score(mixture, s, pull) for mixture in tried}
    top = max(scores.values())
    equals = [mixture for mixture, value in scores.items() if value > top - _ROUNDING]
    return min(equals, key=lambda mixture: (round(abs(mixture.alpha - s), 9), -mixture.alpha))


def score(tried: Tried, s: float, pull: float) -> float:
    """s A_S + (1 - s) A_U - pull (α - s)²."""
    return s * tried.seen + (1 - s) * tried.absent - pull * (tried.alpha - s) ** 2


def _evidence_at(
    alpha: float,
    mixtures: Mixtures[R],
    rows: R,
    evidence: MoreEvidence[R],
    before: Snapshot,
    reference: Snapshot,
    least: float,
) -> Evidence:
    """What a selector may look at to choose the offset of the mixture of alpha."""
    more = replace(evidence, source=None).map(partial(mixtures.answers, alpha))
    seen = mixtures.answers(alpha, rows)
    return Evidence(seen, before, reference, unlabelled=more.unlabelled, labelled=more.labelled, least=least)


def _tried(alpha: float, given: Evidence, budget: float | None, start: float) -> tuple[Tried, Tried]:
    """What the mixture of alpha gives, with the offset it would get within the budget, and without one.

    Args:
        start: how much further along the steps of the trade-off twins of absent rows stand than seen rows, from the
            beginning.
    """
    rows = given.need("seen", by="auto")
    chosen, allowed = _offset_of(given, rows, budget)
    steps, shift = _steps_of(given, rows, start)
    share = float(rows.seen.double().mean())

    def at(offset: float, allowed: bool) -> Tried:
        seen, absent = accuracies_at(steps, offset)[0], accuracies_at(steps, offset + shift)[1]
        return Tried(alpha, offset, seen, absent, share * seen + (1 - share) * absent, allowed)

    return at(chosen.offset, allowed), at(chosen.details.get("unlimited", chosen.offset), True)


def _offset_of(given: Evidence, rows: Snapshot, budget: float | None) -> tuple[Selection, bool]:
    """The offset that a mixture would get, and whether the budget allows it. Too few rows to say allow everything."""
    if budget is None or given.labelled is not None or rows.units < rows_needed(given, budget):
        return find("selectors", without_budget(given))(given), True
    chosen = auto(given, budget=budget)
    return chosen, chosen.guarantee is not None


def _steps_of(given: Evidence, rows: Snapshot, start: float) -> tuple[Steps, float]:
    """The steps of a mixture's trade-off, and how much further along them absent rows stand than seen ones."""
    if (known := given.labelled) is not None:
        return steps_of(margins(known.logits, known.known_labels, known.seen)), 0.0
    return estimated(given.need("before", by="auto"), rows), start


def _measured(taken: Tried, judges: Snapshot, estimates: bool) -> str:
    """The accuracies of the mixture that was taken, in words."""
    kept = f"with an offset of {taken.offset:.2f} it keeps {taken.seen:.1%} of "
    if estimates:
        return f"{kept}{len(judges)} held-out seen rows right, and by estimate {taken.absent:.1%} of absent ones"
    return f"{kept}seen and {taken.absent:.1%} of absent rows right, of {len(judges)} labelled ones"


def _criterion(tried: Sequence[Tried], budget: float | None, prefer: Prefer, pull: float, s: float) -> str:
    """By what it is the best, in words."""
    within = "" if budget is None else f" within a budget of {budget:g}"
    twice = "" if prefer == "balanced" else f" where {prefer} classes count twice"
    less = f", each less {pull:g} times its squared distance from {s:.2f}" if pull else ""
    return f", the best of {len(tried)} mixtures{within}{twice}{less}"
