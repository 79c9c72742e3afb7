"""What answers at an alpha where the two heads have other classes: the backbone mixed, the heads joined by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reclaim.core.inference import Inference
from reclaim.data.records import Data, Split
from reclaim.models.batch_norm import with_statistics
from reclaim.models.batches import Source, evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.identity import identity
from reclaim.models.union import AFTER, BEFORE, Union, both_heads, stitched
from reclaim.repairs.mixtures import answered, kept
from reclaim.repairs.rows import Part, Rows
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["BELOW", "Stitch", "StitchedMixtures", "scale_between"]

BELOW = 30.0  # how far below all others the logit of a class stands that a model does not have: a probability of 1e-13


@dataclass(frozen=True)
class Stitch:
    """How two heads became one.

    Attributes:
        scale: what the fine-tuned model's rows were multiplied with.
        tuned: the classes whose rows are the fine-tuned model's.
        absent: how many classes have the pretrained model's row.
        new: those of the former that the pretrained model did not have.
        plain: what the joined heads answer on the report rows at alpha 1, neither scaled nor with an offset.
        scaled: the same, scaled.
    """

    scale: float
    tuned: tuple[str, ...]
    absent: int
    new: tuple[str, ...]
    plain: Snapshot
    scaled: Snapshot


@dataclass(frozen=True, eq=False)
class StitchedMixtures:
    """Classifiers over the union of two heads' classes, whose backbone is mixed (`stitched`).

    The rows of the fine-tuned model are brought to the scale of the pretrained ones, which each alpha chooses anew.

    Attributes:
        before, after: the pretrained and the fine-tuned model.
        union: their classes.
        rows: of which `rows.choose` choose the scale; of `rows.report` features are kept too.
        statistics: rows on which the running statistics of a mixture are measured, where those of the two differ.
        inference: how the mixtures are run.
        source: where batches come from.
    """

    before: Classifier
    after: Classifier
    union: Union
    rows: Rows[Part]
    statistics: Split
    inference: Inference = Inference()
    source: Source = evaluation_batches

    @kept(most=1)
    def both(self, alpha: float) -> Classifier:
        """The mixed backbone with the rows of both heads."""
        made = both_heads(self.before, self.after, alpha)
        return with_statistics(
            made, self.before, self.after, alpha, self.statistics, self.inference, source=self.source
        )

    @kept()
    def of_both(self, alpha: float, rows: Part) -> Snapshot:
        """What both heads answer on the mixed backbone; it is run once on each rows."""
        wide = self.both(alpha)
        whose = {name: AFTER if own else BEFORE for name, own in zip(self.union.classes, self.union.tuned, strict=True)}
        named = replace(rows.data, classes=tuple(whose[name] + name for name in rows.data.classes))
        given = replace(rows, data=named.over(wide.classes), split=_over(rows, named, wide.classes))
        return answered(wide, given, self.inference, features=rows is self.rows.report, source=self.source)

    @kept()
    def scale(self, alpha: float) -> float:
        """What the fine-tuned rows are multiplied with, chosen on held-out rows of seen classes."""
        given = self.of_both(alpha, self.rows.choose)
        columns = self.union.shared if len(self.union.shared) > 1 else ()
        ours = _columns(given, [BEFORE + name for name in columns or self.before.classes])
        theirs = _columns(given, [AFTER + name for name in columns or self.after.classes])
        return scale_between(ours, theirs)

    def answers(self, alpha: float, rows: Part) -> Snapshot:
        """What the joined network of alpha answers, with its scale and no offset."""
        return self.joined(alpha, rows, self.scale(alpha))

    def joined(self, alpha: float, rows: Part, scale: float) -> Snapshot:
        """The same with another scale."""
        given, own = self.of_both(alpha, rows), self._tuned(rows.data)
        names = [
            (AFTER if tuned else BEFORE) + name for name, tuned in zip(rows.data.classes, own.tolist(), strict=True)
        ]
        return _as(rows, given, _columns(given, names) * torch.where(own.to(given.logits.device), scale, 1.0))

    def start(self, rows: Part) -> Snapshot:
        """What the pretrained model answers; classes that only the fine-tuned one has are below all others."""
        return self._alone(0.0, rows, BEFORE, self.before.classes)

    def end(self, rows: Part) -> Snapshot:
        """What the fine-tuned model answers; absent classes are below all others."""
        return self._alone(1.0, rows, AFTER, self.union.tuned_classes)

    def model(self, alpha: float) -> Classifier:
        """The network of alpha, with its scale and no offset."""
        made = stitched(self.before, self.after, self.union, alpha=alpha, scale=self.scale(alpha))
        return made.with_weights(_without_head(self.both(alpha)) | _of_head(made))

    def _alone(self, alpha: float, rows: Part, whose: str, has: tuple[str, ...]) -> Snapshot:
        """What one of the two answers over the classes of the rows' data."""
        given, known = self.of_both(alpha, rows), [name for name in rows.data.classes if name in set(has)]
        own = _columns(given, [whose + name for name in known])
        floor = own.logsumexp(dim=1, keepdim=True) - BELOW
        z = torch.minimum(floor, own.amin(dim=1, keepdim=True) - 1).repeat(1, len(rows.data.classes))
        where = {name: column for column, name in enumerate(rows.data.classes)}
        z[:, torch.tensor([where[name] for name in known], device=z.device)] = own
        lacks = tuple(name for name in rows.data.classes if name not in set(has))
        who = identity((self.before if whose == BEFORE else self.after).weights)
        return replace(_as(rows, given, z), lacks=lacks, model_identity=who)

    def _tuned(self, data: Data) -> Tensor:
        tuned = set(self.union.tuned_classes)
        return torch.tensor([name in tuned for name in data.classes])


def scale_between(ours: Tensor, theirs: Tensor) -> float:
    """What logits `theirs` [N, K] are multiplied with to spread as widely within a row as `ours` [N, K'] do.

        scale = √(mean over rows of the variance of ours) / √(the same of theirs)

    Both are logits of the same rows, as a rule over the same classes. A constant on a row changes nothing, nor does
    any constant on all rows; of logits that are the same but for a factor it is that factor.
    """
    spread = [float((z.double() - z.double().mean(dim=1, keepdim=True)).square().mean().sqrt()) for z in (ours, theirs)]
    return spread[0] / spread[1] if min(spread) > 0 else 1.0


def _over(rows: Part, named: Data, classes: tuple[str, ...]) -> Split:
    """The rows with their labels among `classes`, which have all of those of the data."""
    return replace(named, splits={"": rows.split}).over(classes).splits[""]


def _as(rows: Part, given: Snapshot, z: Tensor) -> Snapshot:
    """Logits over the classes of the rows' data, as a snapshot of these rows."""
    data = rows.data
    return replace(
        given,
        logits=z,
        checked=z,
        labels=rows.split.labels,
        seen=data.seen,
        classes=data.classes,
        model_identity="",  # no weights in a file answer so
    )


def _columns(given: Snapshot, names: list[str]) -> Tensor:
    where = {name: column for column, name in enumerate(given.classes)}
    return given.logits[:, torch.tensor([where[name] for name in names], device=given.logits.device)]


def _of_head(model: Classifier) -> dict[str, Tensor]:
    return {name: t for name, t in model.weights.items() if name.startswith(f"{model.head}.")}


def _without_head(model: Classifier) -> dict[str, Tensor]:
    return {name: t for name, t in model.weights.items() if not name.startswith(f"{model.head}.")}
