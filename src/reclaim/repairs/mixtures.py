"""What answers between a pretrained and a fine-tuned model: their weights mixed, or their logarithmic probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.core.arrays import A, as_kind, as_tensor, row_blocks
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.records import Split
from reclaim.models.batch_norm import measure_again, statistics_differ
from reclaim.models.classifier import Classifier
from reclaim.models.merges.interpolation import interpolation
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["OutputMixture", "aligned", "mixed", "mixture"]


@dataclass(frozen=True)
class OutputMixture:
    """Part of the way from a fine-tuned model's answers to the pretrained one's, with an offset for absent classes.

    Attributes:
        weight: 0 is the pretrained model, 1 the fine-tuned one.
        offset: added to the mixture, with the shifts of single classes; its classes are the mixture's.

    Source: Kumar et al., "Calibrated ensembles can mitigate accuracy tradeoffs under distribution shift", UAI 2022
        (averaging the two models' outputs).
    Differs: logarithms are mixed, by a weight chosen from held-out rows of seen classes, and absent classes are lifted.
    """

    weight: float
    offset: LogitOffset

    def __call__(self, before: A, after: A) -> A:
        """Logits [N, C] of the pretrained and the fine-tuned model on the same rows -> [N, C]."""
        return self.offset(mixed(before, after, self.weight))

    def of(self, before: Snapshot, after: Snapshot) -> Snapshot:
        """The same for two snapshots of the same rows, whatever the order of their classes."""
        first, last = aligned(before, after, self.offset.classes)
        return replace(last, logits=self(first.logits, last.logits), features=None, finite=True)


def mixed(before: A, after: A, weight: float) -> A:
    """Logarithmic probabilities [N, C], mixed; at weight 0 and 1 exactly those of one model.

    Raises: BadInput for a weight outside [0, 1], or logits of other rows or classes.
    """
    if not 0 <= weight <= 1:
        raise BadInput(f"the weight is the share of the fine-tuned model, between 0 and 1; given: {weight}.")
    first, last = as_tensor(before), as_tensor(after)
    if first.shape != last.shape:
        raise BadInput(f"logits to mix must be of the same shape; given: {list(first.shape)} and {list(last.shape)}.")
    kind = torch.promote_types(torch.promote_types(first.dtype, last.dtype), torch.float32)
    made = last.new_empty(last.shape, dtype=kind)
    for block in row_blocks(last):
        start, end = (z[block].log_softmax(dim=1, dtype=kind) for z in (first, last))
        made[block] = torch.lerp(start, end, weight)
    return as_kind(made, after)


def aligned(before: Snapshot, after: Snapshot, classes: tuple[str, ...] = ()) -> tuple[Snapshot, Snapshot]:
    """Two snapshots of the same rows over the same classes in the same order, by default that of `after`.

    Which classes are seen is what `after` says: a pretrained model need not know it. Labels that one has are both's.

    Raises: BadInput if a class is in one of the two only, or the rows differ.
    """
    last = after.reordered(classes or after.classes)
    first = before.reordered(last.classes)
    labels = first.labels if last.labels is None else last.labels
    told_apart = first.labels is not None and labels is not None and not torch.equal(first.labels, labels)
    if len(first) != len(last) or told_apart:
        raise BadInput(
            f"the two snapshots hold different rows ({len(first)} and {len(last)}).\n"
            "  Predict both models on the same split, in the same order."
        )
    return replace(first, labels=labels, seen=last.seen, finite=True), replace(last, labels=labels, finite=True)


def mixture(
    before: Classifier, after: Classifier, weight: float, inputs: Split, inference: Inference = Inference()
) -> Classifier:
    """The classifier part of the way; where the running statistics of the two differ, with its own, from `inputs`."""
    mixed = after.with_weights(interpolation(before.weights, after.weights, alpha=weight))
    if 0 < weight < 1 and statistics_differ(before.weights, after.weights):
        return measure_again(mixed, inputs, inference)
    return mixed
