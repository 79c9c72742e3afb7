"""How far to go back from the fine-tuned weights to the pretrained ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.auto import auto, without_budget
from reclaim.calibration.selectors.pseudo_absent import estimated, pseudo_absent
from reclaim.calibration.selectors.retention_budget import rows_needed
from reclaim.core.registry import find
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Steps, accuracies_at, steps_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["WEIGHTS", "Mix", "Prefer", "Tried", "most_promising"]

WEIGHTS = tuple(step / 10 for step in range(11))
PULL = 0.1

Prefer = Literal["balanced", "seen", "absent"]


@dataclass(frozen=True)
class Tried:
    """A mixture that was looked at.

    Attributes:
        weight: of the fine-tuned model.
        offset: the one it would get.
        seen: accuracy on rows of seen classes with it.
        absent, all: accuracy on absent classes and on all of them, see `Mix.estimated`.
        allowed: whether the budget is certified.
    """

    weight: float
    offset: float
    seen: float
    absent: float
    all: float
    allowed: bool


@dataclass(frozen=True)
class Mix:
    """How far the weights stay with the fine-tuned model.

    Attributes:
        weight: 0 is the pretrained model, 1 the fine-tuned one.
        reason: why this one.
        tried: the mixtures that were looked at.
        rows: held-out rows that chose it.
        preferences: what would be taken without a budget, by the classes that count more, on the same rows.
        estimated: whether the accuracies on absent classes are estimates, because no row of one was given.
    """

    weight: float
    reason: str
    tried: tuple[Tried, ...] = ()
    rows: int = 0
    preferences: Mapping[Prefer, Tried] = field(default_factory=dict)
    estimated: bool = True

    @property
    def taken(self) -> Tried | None:
        """What was looked at with the weight that was taken."""
        return next((t for t in self.tried if t.weight == self.weight), None)


def most_promising(
    before: Snapshot,
    mixed: Mapping[float, Snapshot],
    *,
    reference: Snapshot | None = None,
    unlabelled: Mapping[float, Snapshot] | None = None,
    labelled: Mapping[float, Snapshot] | None = None,
    budget: float | None = 0.05,
    prefer: Prefer = "balanced",
    pull: float = PULL,
) -> Mix:
    """The weight whose mixture, with an offset of its own, is right most often over all classes by estimate.

    Each mixture is given the offset of `auto` on these rows, or the best one `without_budget`. Its seen accuracy is
    that of the rows, its absent accuracy that of their twins, see `pseudo_absent`. Each class counts alike. Estimates
    of neighbours differ by less than their error; so a weight pays for its distance from the share of seen classes,
    which is where the best one lies before anything is known: all classes seen, nothing need be given up.

    Args:
        before: the pretrained model's answers on held-out rows of seen classes. With one seen class nothing can be
            estimated, and it is the fine-tuned model.
        mixed: answers of the mixtures on the same rows, by weight.
        reference: answers of the model against which the budget counts; default: the mixture of weight 1.
        unlabelled: answers of the mixtures on target rows, for their offsets.
        labelled: answers of the mixtures on target rows of all classes with labels: accuracies are then those of these
            rows, each mixture has its best offset, and no budget counts.
        budget: the seen accuracy that may be lost; None allows everything. If no mixture keeps it, it is the
            fine-tuned model.
        prefer: "seen" and "absent" count the classes of that group twice.
        pull: what a weight pays, in accuracy, times the squared distance.

    Source: Reclaim; docs/repair.md has what it is measured against.
    """
    if int(before.seen.sum()) < 2:
        return Mix(1.0, "with one seen class there is nothing to imitate absent ones by")
    share = float(before.seen.double().mean())
    start = pseudo_absent(Evidence(seen=before, before=before)).details["start"]
    tried, unlimited = [], []
    for weight, rows in mixed.items():
        free, known = (None if given is None else given[weight] for given in (unlabelled, labelled))
        evidence = Evidence(
            seen=rows, before=before, reference=reference or mixed[1.0], unlabelled=free, labelled=known
        )
        certain = budget is not None and known is None and len(rows) >= rows_needed(evidence, budget)
        given = (
            auto(evidence, budget=budget or 0.0) if certain else find("selectors", without_budget(evidence))(evidence)
        )
        allowed = given.guarantee is not None or not certain
        if known is not None and known.labels is not None:
            steps, shift = steps_of(margins(known.logits, known.labels, known.seen)), 0.0
        else:
            steps, shift = estimated(before, rows), start
        free_offset = given.details.get("unlimited", given.offset)
        tried.append(_tried(weight, given.offset, steps, shift, share, allowed))
        unlimited.append(_tried(weight, free_offset, steps, shift, share, True))
    preferences = {preferred: _best(unlimited, preferred, share, pull) for preferred in get_args(Prefer)}
    if not any(t.allowed for t in tried):
        reason = f"no mixture keeps the budget of {budget:g} on {len(before)} held-out rows"
        return Mix(1.0, reason, tuple(tried), len(before), preferences)
    count = len(before) if labelled is None else len(labelled[1.0])
    of_seen = _weight_of_seen(prefer, share)
    chosen = _best([t for t in tried if t.allowed], prefer, share, pull)
    return Mix(
        weight=chosen.weight,
        reason=f"with an offset of {chosen.offset:.2f} it keeps {chosen.seen:.1%} of "
        + (
            f"{count} held-out seen rows right, and by estimate {chosen.absent:.1%} of absent ones"
            if labelled is None
            else f"seen and {chosen.absent:.1%} of absent rows right, of {count} labelled ones"
        )
        + f", the best of {len(tried)} weights"
        + (f" within a budget of {budget:g}" if budget is not None else "")
        + (f" where {prefer} classes count twice" if prefer != "balanced" else "")
        + (f", each less {pull:g} times its squared distance from {of_seen:.2f}" if pull else ""),
        tried=tuple(tried),
        rows=count,
        preferences=preferences,
        estimated=labelled is None,
    )


def _tried(weight: float, offset: float, steps: Steps, shift: float, share: float, allowed: bool) -> Tried:
    """What a mixture with an offset gives, where absent rows stand `shift` further along the steps than seen ones."""
    seen, absent = accuracies_at(steps, offset)[0], accuracies_at(steps, offset + shift)[1]
    return Tried(weight, offset, seen, absent, share * seen + (1 - share) * absent, allowed)


def _weight_of_seen(prefer: Prefer, share: float) -> float:
    """How much seen accuracy counts, where each class counts once, or those of a group twice."""
    seen, absent = {"balanced": (1, 1), "seen": (2, 1), "absent": (1, 2)}[prefer]
    return seen * share / (seen * share + absent * (1 - share))


def _best(tried: Sequence[Tried], prefer: Prefer, share: float, pull: float) -> Tried:
    of_seen = _weight_of_seen(prefer, share)
    return max(tried, key=lambda t: of_seen * t.seen + (1 - of_seen) * t.absent - pull * (t.weight - of_seen) ** 2)
