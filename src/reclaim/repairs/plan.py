"""The choices of a repair: alpha, the shifts of single classes, and the offset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from torch import Tensor

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.class_shifts import class_shifts
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.auto import without_budget
from reclaim.repairs.alpha import ChosenAlpha, choose_alpha
from reclaim.repairs.choices import Choices
from reclaim.repairs.mixtures import Mixtures, kept
from reclaim.repairs.rows import MoreEvidence, Rows
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["CERTIFIED_BY", "Ends", "Plan", "ShiftedMixtures", "plan"]

CERTIFIED_BY = 1 << 14  # held-out rows at most; each more than so many changes a certificate by less than 1e-4

R = TypeVar("R")


@dataclass(frozen=True)
class Plan:
    """What a repair does, and why.

    Attributes:
        mix: the alpha of the mixture, with its reason and what was tried.
        offset: what is added to absent logits, with the shifts of single classes, its reason and its guarantee.
    """

    mix: ChosenAlpha
    offset: LogitOffset

    @property
    def alpha(self) -> float:
        """0 is the pretrained model, 1 the fine-tuned one."""
        return self.mix.alpha


@dataclass(frozen=True)
class Ends(Generic[R]):
    """What the two models themselves answer, where mixtures of alpha 0 and 1 are not they.

    Attributes:
        before, after: of the pretrained and of the fine-tuned model, on rows.
        least: the least offset that may be chosen (`Evidence`).
    """

    before: Callable[[R], Snapshot]
    after: Callable[[R], Snapshot]
    least: float = 0.0


@dataclass(frozen=True, eq=False)
class ShiftedMixtures(Generic[R]):
    """Mixtures whose single classes are shifted towards being answered as often as they should be (`class_shifts`).

    Attributes:
        plain: the mixtures without shifts.
        choose: held-out rows of seen classes, by which a mixture's shifts are chosen.
        evidence: labelled or unlabelled target rows choose them instead, where there are any.
        strength: how much of the shifts is taken, from 0 (none) to 1.
    """

    plain: Mixtures[R]
    choose: R
    evidence: MoreEvidence[R]
    strength: float

    @kept()
    def shifts(self, alpha: float) -> Tensor | None:
        """What is added to the logits of each class, [C]; None for nothing."""
        if not self.strength:
            return None
        target = None
        if self.evidence.labelled is not None:
            target = self.plain.answers(alpha, self.evidence.labelled)
        elif self.evidence.unlabelled is not None:
            target = self.plain.answers(alpha, self.evidence.unlabelled).unlabelled()
        return class_shifts(self.plain.answers(alpha, self.choose), target, strength=self.strength)

    def answers(self, alpha: float, rows: R, /) -> Snapshot:
        """What the mixture of alpha answers, with its shifts."""
        return _plus(self.plain.answers(alpha, rows), self.shifts(alpha))


def plan(
    mixtures: Mixtures[R],
    rows: Rows[R],
    choices: Choices = Choices(),
    evidence: MoreEvidence[R] = MoreEvidence(),
    ends: Ends[R] | None = None,
) -> Plan:
    """Choose alpha and the shifts of single classes by `rows.choose`, then the offset by `rows.certify`.

    The offset's certificate holds only where rows chose it that chose nothing else; otherwise it is taken away. If no
    offset keeps the budget at the chosen alpha, the plan is the fine-tuned model without shifts.

    Args:
        mixtures: they are asked for what is needed only.
        rows: whose report rows are not read.
        evidence: more rows to choose by.
        ends: the two models, where they are not the ends of the mixtures; then `rows.choose` chose a scale too.
    """
    joined, ends = ends is not None, ends or Ends(partial(mixtures.answers, 0.0), partial(mixtures.answers, 1.0))
    shifted = ShiftedMixtures(mixtures, rows.choose, evidence, choices.class_shifts)
    if choices.mix != "auto":
        given = ChosenAlpha(float(choices.mix), "as given")
        offset = offset_at(given.alpha, shifted, rows, choices, evidence, ends)
        if (choices.class_shifts or joined) and not rows.separate_rows:
            chose = "the shifts of single classes" if choices.class_shifts else "the scale between the heads"
            offset = _uncertified(offset, f"the same rows chose {chose}")
        return Plan(given, offset)
    chosen = choose_alpha(
        shifted,
        rows.choose,
        evidence,
        before=ends.before(rows.choose),
        reference=ends.after(rows.choose),
        budget=None if choices.prefer is not None else choices.numbers.get("budget", 0.05),
        prefer=choices.prefer or "balanced",
        least=ends.least,
    )
    offset = offset_at(chosen.alpha, shifted, rows, choices, evidence, ends)
    if _over_budget(offset) and (chosen.alpha != 1 or choices.class_shifts):
        reason = f"back to the fine-tuned model, because at {chosen.alpha:g} {offset.reason}"
        unmixed = replace(choices, mix=1.0, class_shifts=0.0)
        again = plan(mixtures, rows, unmixed, evidence, ends if joined else None).offset
        failed = "a first mixture failed on the same rows"
        return Plan(replace(chosen, alpha=1.0, reason=reason), _uncertified(again, failed))
    return Plan(chosen, offset if rows.separate_rows else _uncertified(offset, "the same rows chose the mixture"))


def offset_at(
    alpha: float,
    mixtures: ShiftedMixtures[R],
    rows: Rows[R],
    choices: Choices,
    evidence: MoreEvidence[R],
    ends: Ends[R],
) -> LogitOffset:
    """The offset that the selector chooses for the mixture of alpha; its budget counts against the fine-tuned model."""
    shifts = mixtures.shifts(alpha)
    changed = alpha != 1 or shifts is not None or ends.least != 0
    held_out = mixtures.plain.answers(alpha, rows.certify).thinned(CERTIFIED_BY)
    before = ends.before(rows.certify).thinned(CERTIFIED_BY)
    reference = ends.after(rows.certify).thinned(CERTIFIED_BY) if changed else None
    more = evidence.map(partial(mixtures.answers, alpha))
    given = Evidence(
        seen=_plus(held_out, shifts),
        before=before,
        reference=reference,
        unlabelled=more.unlabelled,
        source=more.source,
        labelled=more.labelled,
        least=ends.least,
    )
    best = choices.prefer is not None and choices.select == "auto"
    return LogitOffset.select(given, without_budget(given) if best else choices.select, choices.numbers, shifts)


def _over_budget(offset: LogitOffset) -> bool:
    """Whether a selector with a budget could not certify that it is kept.

    "auto" has "unlimited" in its details where it had a budget, and "budget" only where that is what it took.
    """
    return offset.guarantee is None and not offset.fitted.details.keys().isdisjoint(("budget", "unlimited"))


def _plus(rows: Snapshot, shifts: Tensor | None) -> Snapshot:
    return rows if shifts is None else rows.with_logits(rows.logits + shifts)


def _uncertified(offset: LogitOffset, why: str) -> LogitOffset:
    return replace(offset, guarantee=None, reason=f"{offset.reason}; not certified, because {why}")
