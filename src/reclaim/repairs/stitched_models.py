"""The main job for two models whose heads have other classes: one network over the union of both."""

from __future__ import annotations

from dataclasses import replace

from reclaim.core.checks import check_groups
from reclaim.core.errors import Argument, BadInput
from reclaim.data.records import Data
from reclaim.models.adapters import Form
from reclaim.models.classifier import Classifier
from reclaim.models.head import first_row, traced
from reclaim.models.pairs import Prepare, paired
from reclaim.models.prepared import Prepared
from reclaim.models.union import check_heads
from reclaim.repairs.choices import BY_RETRAINING, Choices
from reclaim.repairs.folding import fold_offset
from reclaim.repairs.heads import named_heads, over_union, tuned_union
from reclaim.repairs.mixtures import answered
from reclaim.repairs.modules import Opened
from reclaim.repairs.plan import Ends, plan
from reclaim.repairs.result import Repair
from reclaim.repairs.rows import Part, Rows, divide, for_statistics, one_split
from reclaim.repairs.stitching import Stitch, StitchedMixtures

__all__ = ["repair_stitched"]


def repair_stitched(
    given: Opened, choices: Choices, *, prepare: Prepare | None, result: Form | None, said: bool
) -> Repair[Classifier]:
    """Repair a fine-tuned classifier whose head was replaced: by one for its own classes, old and new ones.

    The backbone is mixed; rows of the head are the fine-tuned model's for its own classes and the pretrained one's for
    the others. Held-out rows of seen classes choose what the former are multiplied with (`scale_between`), and then
    everything as in `repair`. The budget counts against the fine-tuned model among its own classes.

    Args:
        said: whether it was said which classes are seen.

    Raises: BadInput if the heads cannot be joined, or the choices are not for joined heads.
    Source: Reclaim.
    """
    if result == "adapter":
        raise BadInput(
            "the repaired model cannot be an adapter: its head answers the classes of both models.",
            Argument("result", "take merged weights", "merged"),
        )
    if choices.select == BY_RETRAINING:
        raise BadInput(
            f"{BY_RETRAINING} repeats a fine-tuning of the whole head, and here the head was replaced.\n"
            "  Choose with gap-matching or retention-budget instead."
        )
    before, after = (traced(model, given.data) for model in paired(given.before, given.after, prepare))
    before, after = named_heads(before, after, given.data)
    union = tuned_union(before, after, given.data, said=said)
    data = over_union(given.data, union)
    check_groups(data.seen)
    evidence = given.evidence.map(lambda more: one_split(_like(more, data)))
    rows, run, source = divide(data, choices), given.inference, Prepared()
    check_heads(before, after, first_row(before, rows.choose.split))
    made = StitchedMixtures(before, after, union, rows, for_statistics(data, rows), run, source)
    chosen = plan(made, rows, choices, evidence, Ends(made.start, made.end, least=float("-inf")))
    folded, bias = fold_offset(made.model(chosen.alpha), chosen.offset, rows.certify, run, source)
    return Repair(
        plan=chosen,
        model=replace(folded, seen=data.seen_classes),
        before=replace(made.start(rows.report), weights=before.weights),
        after=replace(made.end(rows.report), weights=after.weights),
        repaired=answered(folded, rows.report, run, source=source),
        bias=bias,
        stitch=_stitch(made, before, after, rows, chosen.alpha),
    )


def _like(more: Data, data: Data) -> Data:
    """More data over the same classes, with the same ones seen."""
    return replace(more.over(data.classes), seen=data.seen)


def _stitch(made: StitchedMixtures, before: Classifier, after: Classifier, rows: Rows[Part], alpha: float) -> Stitch:
    tuned = made.union.tuned_classes
    return Stitch(
        scale=made.scale(alpha),
        tuned=tuned,
        absent=len(made.union.classes) - len(tuned),
        new=tuple(name for name in tuned if name not in set(before.classes)),
        plain=made.joined(1.0, rows.report, 1.0),
        scaled=replace(made.answers(1.0, rows.report), weights=after.weights),
    )
