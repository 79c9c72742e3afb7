"""What answers at an alpha: a pretrained (0) and a fine-tuned model (1), mixed by their weights or by their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from math import inf
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.checks import check_number
from reclaim.calibration.same_rows import check_same_rows
from reclaim.core.arrays import A, as_kind, as_tensor, check_one_place, row_blocks
from reclaim.core.checks import check_kind
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.joining import say_if_of_another
from reclaim.data.records import Split
from reclaim.models.batch_norm import with_statistics
from reclaim.models.batches import Source, evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.merges.interpolation import interpolation
from reclaim.models.predict import predict
from reclaim.repairs.rows import Both, Part
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Mixtures", "OutputMixture", "OutputMixtures", "WeightMixtures", "aligned", "answered", "kept", "mixed"]

R = TypeVar("R", contravariant=True)
S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")


class Mixtures(Protocol[R]):
    """What a repair chooses from: answers of every mixture, on rows of any kind."""

    def answers(self, alpha: float, rows: R, /) -> Snapshot:
        """What the mixture of alpha answers on these rows."""


def kept(most: float = inf) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """A method of a frozen record that keeps its `most` latest results, by what it was asked.

    Rows are told apart by identity, so they and the record are compared by it (``eq=False``).
    """

    def decorate(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(method)
        def call(self: S, *asked: P.args, **named: P.kwargs) -> T:
            results: dict[Any, T] = vars(self).setdefault(f"kept {method.__name__}", {})
            question = asked, tuple(named.items())
            if question not in results:
                results[question] = method(self, *asked, **named)
            while len(results) > most:
                del results[next(iter(results))]
            return results[question]

        return call

    return decorate


@dataclass(frozen=True, eq=False)
class WeightMixtures:
    """Classifiers between two: θ = (1 - α) θ₀ + α θ₁.

    Attributes:
        before, after: the pretrained and the fine-tuned model, over the same classes in the same order.
        statistics: rows on which the running statistics of a mixture are measured, where those of the two differ.
        inference: how the mixtures are run.
        source: where batches come from.
    """

    before: Classifier
    after: Classifier
    statistics: Split
    inference: Inference = Inference()
    source: Source = evaluation_batches

    @kept(most=1)
    def model(self, alpha: float) -> Classifier:
        """The classifier of alpha; 0 and 1 are exactly the two."""
        mixture = self.after.with_weights(interpolation(self.before.weights, self.after.weights, alpha=alpha))
        return with_statistics(
            mixture, self.before, self.after, alpha, self.statistics, self.inference, source=self.source
        )

    @kept()
    def answers(self, alpha: float, rows: Part) -> Snapshot:
        """What the classifier of alpha answers; it is run once on each rows."""
        return answered(self.model(alpha), rows, self.inference, source=self.source)


@dataclass(frozen=True, eq=False)
class OutputMixtures:
    """Answers between those of two models: log-probabilities (1 - α) log p₀ + α log p₁."""

    @kept(most=4)  # the rows that one alpha is asked for
    def answers(self, alpha: float, rows: Both) -> Snapshot:
        """The answers of both models on these rows, mixed."""
        return rows.after.with_logits(mixed(rows.before.logits, rows.after.logits, alpha))


@dataclass(frozen=True)
class OutputMixture:
    """Part of the way from a fine-tuned model's answers to the pretrained one's, with an offset for absent classes.

    Attributes:
        alpha: 0 is the pretrained model, 1 the fine-tuned one.
        offset: added to the mixture, with the shifts of single classes; its classes are the mixture's.

    Source: Kumar et al., "Calibrated ensembles can mitigate accuracy tradeoffs under distribution shift", UAI 2022
        (averaging the two models' outputs).
    Differs: logarithms are mixed, by an alpha chosen from held-out rows of seen classes, and absent classes are lifted.
    """

    alpha: float
    offset: LogitOffset

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, least=0)
        if self.alpha > 1:
            raise BadInput(
                f"alpha must be from 0, the pretrained model, to 1, the fine-tuned one; given: {self.alpha}."
            )

    def __call__(self, before: A, after: A) -> A:
        """Logits [N, C] of the pretrained and the fine-tuned model on the same rows -> [N, C]."""
        return self.offset(mixed(before, after, self.alpha))

    def of(self, before: Snapshot, after: Snapshot) -> Snapshot:
        """The same for two snapshots of the same rows, whatever the order of their classes; another model's is said."""
        first, last = aligned(before, after, self.offset.fitted.classes)
        say_if_of_another(self.offset.fitted, after.model_identity)
        return replace(last.with_logits(self(first.logits, last.logits)), features=None)


def answered(
    model: Classifier,
    rows: Part,
    inference: Inference,
    *,
    features: bool = False,
    source: Source = evaluation_batches,
) -> Snapshot:
    """What a network answers on these rows."""
    named = replace(rows.data, splits={rows.name: rows.split})
    return predict(model, named, rows.name, features=features, inference=inference, source=source)


def mixed(before: A, after: A, alpha: float) -> A:
    """Logarithmic probabilities [N, C], mixed; at alpha 0 and 1 exactly those of one model.

    Raises: BadInput for an alpha outside [0, 1], or logits of other rows or classes, or on two devices.
    """
    if not 0 <= alpha <= 1:
        raise BadInput(f"alpha is the share of the fine-tuned model, between 0 and 1; given: {alpha}.")
    first, last = as_tensor(before), as_tensor(after)
    if first.shape != last.shape:
        raise BadInput(f"logits to mix must be of the same shape; given: {list(first.shape)} and {list(last.shape)}.")
    check_kind(first)
    check_kind(last)
    check_one_place({"before": first, "after": last})
    kind = torch.promote_types(torch.promote_types(first.dtype, last.dtype), torch.float32)
    made = last.new_empty(last.shape, dtype=kind)
    for block in row_blocks(last):
        start, end = (z[block].log_softmax(dim=1, dtype=kind) for z in (first, last))
        made[block] = torch.lerp(start, end, alpha)
    return as_kind(made, after)


def aligned(before: Snapshot, after: Snapshot, classes: tuple[str, ...] = ()) -> tuple[Snapshot, Snapshot]:
    """Two snapshots of the same rows over the same classes in the same order, by default that of `after`.

    Which classes are seen is what `after` says: a pretrained model need not know it. Labels and groups that one has are
    both's.

    Raises: BadInput if a class is in one of the two only, or the rows, their groups or their devices differ.
    """
    check_one_place({"before": before.logits, "after": after.logits})
    last = after.reordered(classes or after.classes)
    first = before.reordered(last.classes)
    check_same_rows(first, last, "the two snapshots")
    labels = first.labels if last.labels is None else last.labels
    named, known = replace(first, labels=labels, seen=last.seen), replace(last, labels=labels)
    return named.with_groups_of(known), known.with_groups_of(named)
