"""The main job from answers alone: for models whose weights one does not have, or which are built differently."""

from __future__ import annotations

from dataclasses import replace

from reclaim.core.checks import check_groups
from reclaim.repairs.choices import Choices
from reclaim.repairs.mixtures import OutputMixture, OutputMixtures, aligned
from reclaim.repairs.plan import CERTIFIED_BY, plan
from reclaim.repairs.result import Repair
from reclaim.repairs.rows import Both, MoreEvidence, Rows, check_apart, check_enough, divide_rows, halved
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Pair", "repair_answers"]

Pair = tuple[Snapshot, Snapshot]  # of the pretrained and of the fine-tuned model, on the same rows

_TOGETHER = "Put all rows of a group on one side, or leave out `report`: groups are then kept together."


def repair_answers(
    before: Snapshot,
    after: Snapshot,
    choices: Choices = Choices(),
    *,
    evidence: MoreEvidence[Pair] = MoreEvidence(),
    report: Pair | None = None,
) -> Repair[OutputMixture]:
    """Repair a fine-tuned model by what it and the pretrained one answer.

    The steps are those of `repair`, with logarithmic probabilities mixed instead of weights. No row of an absent class
    chooses.

    Args:
        before: the pretrained model's answers on labelled rows that neither model was trained on.
        after: the fine-tuned model's on the same rows, over the same classes in any order. Its `seen` says which
            classes the fine-tuning had.
        choices: what else to choose by.
        evidence: both models' answers on more rows.
        report: both models' answers on rows to report on; all rows of seen classes in `before` and `after` then choose.

    Raises: BadInput if the snapshots are about other classes or rows, do not hold what is needed, or if rows of one
        group choose and report.
    Source: Reclaim; docs/repair.md.
    """
    given = Both(*aligned(before, after))
    check_groups(given.after.seen)
    rows = _divided(given, None if report is None else _like(given.after, report), choices)
    more = _named(evidence.map(lambda pair: _like(given.after, pair).thinned(CERTIFIED_BY)))
    chosen = plan(OutputMixtures(), rows, choices, more)
    mixture, told = OutputMixture(chosen.alpha, chosen.offset), rows.report
    return Repair(chosen, mixture, told.before, told.after, mixture.of(told.before, told.after))


def _divided(given: Both, report: Both | None, choices: Choices) -> Rows[Both]:
    """The rows that choose, of which no more are taken than make a difference, and those that report."""
    if report is None:
        held_out, report = divide_rows(given, given.after.seen[given.after.known_labels], choices)
    else:
        held_out = Both(given.before.seen_rows(), given.after.seen_rows())
        check_apart(held_out.after, report.after, ("in `after`", "in `report`"), _TOGETHER)
    check_enough(len(held_out), len(report), given.after.data or "the snapshot")
    rows = halved(held_out, report, choices)
    choose = rows.choose.thinned(CERTIFIED_BY)
    return replace(rows, choose=choose, certify=rows.certify.thinned(CERTIFIED_BY) if rows.separate_rows else choose)


def _like(rows: Snapshot, pair: Pair) -> Both:
    """A pair over the classes of `rows`, with the same ones seen."""
    return Both(*(replace(each, seen=rows.seen) for each in aligned(*pair, classes=rows.classes)))


def _named(more: MoreEvidence[Both]) -> MoreEvidence[Both]:
    """The same rows, those without the name of a split called after what they serve for."""
    named = {
        kind: replace(rows, after=replace(rows.after, split=rows.after.split or f"{kind} rows"))
        for kind, rows in vars(more).items()
        if rows is not None
    }
    return replace(more, **named)
