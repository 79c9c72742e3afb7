"""The seam between training and everything after it: what a model answered, once, on one split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from reclaim.core.arrays import as_tensor, beside
from reclaim.core.checks import (
    as_labels,
    check_classes,
    check_labels,
    check_logits,
    check_no_mask,
    check_same_classes,
    check_seen,
)
from reclaim.core.errors import BadInput, BadKind
from reclaim.core.frozen import store
from reclaim.core.groups import check_members, same_groups, units
from reclaim.core.joining import HasNames, by_name, say_if_of_another, say_if_seen_differ
from reclaim.snapshots.identity import row_identities
from reclaim.snapshots.shards import Shards, through

__all__ = ["Snapshot", "seen_mask"]


@dataclass(frozen=True)
class Snapshot:
    """What a model answered on one split. Checked once, on construction; later code trusts it.

    Labels, seen classes, features and groups may be given on the CPU; they are kept where the logits lie.

    Attributes:
        logits: [N, C], finite, any floating type; log-probabilities are logits, probabilities are refused.
        labels: [N] int64 in 0 … C-1, or names of classes, which become that; None where the rows are unlabelled.
        seen: [C] bool, True where the fine-tuning data had the class.
        features: [N, D], the inputs of the head; None where they were not kept.
        weights: the model's state dict, for diagnoses that look at weights; never written to the file.
        classes: C names.
        split: the name of the split the rows come from.
        model, data: what was run on what, for the record.
        groups: [N] int64, which rows belong together (a patient, a document); None where each stands alone. They are
            never divided, and intervals and certificates count them.
        group_names: the name of each group by its number; empty where they have none.
        model_identity: of the weights that answered (`reclaim.models.identity`); empty if unknown.
        row_identities: fingerprints of the rows as the model answered them, where the logits are changed ones.
        lacks: classes that the model does not have; their logits stand below all others, and mean nothing else.
        checked: the logits that were found finite. A copy by `replace` with the same logits does not read them again.
    """

    logits: Tensor
    labels: Tensor | None
    seen: Tensor
    features: Tensor | None = None
    weights: Mapping[str, Tensor] | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    split: str = ""
    model: str = ""
    data: str = ""
    groups: Tensor | None = field(default=None, kw_only=True)
    group_names: tuple[str, ...] = field(default=(), kw_only=True)
    model_identity: str = field(default="", kw_only=True)
    row_identities: tuple[str, ...] = field(default=(), repr=False, kw_only=True)
    lacks: tuple[str, ...] = field(default=(), kw_only=True)
    checked: Tensor | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        logits = as_tensor(self.logits)
        check_logits(logits[:0] if self.logits is self.checked else logits)
        rows, columns = logits.shape
        given = bool(self.classes)
        store(
            self,
            logits=logits,
            checked=logits,
            seen=beside(check_seen(as_tensor(self.seen), columns), logits, "seen"),
            classes=check_classes(self.classes or [str(c) for c in range(columns)], columns),
        )
        if self.labels is not None:
            labels = as_labels(self.labels, self.classes if given else ())
            store(self, labels=beside(check_labels(labels, rows, columns), logits, "labels"))
        if self.features is not None:
            features = as_tensor(self.features)
            if features.ndim != 2 or len(features) != rows:
                raise BadInput(f"features must be [{rows}, D]; the shape given is {list(features.shape)}.")
            store(self, features=beside(features, logits, "features"))
        if self.groups is not None:
            groups = check_members(as_tensor(self.groups), rows, self.group_names)
            store(self, groups=beside(groups, logits, "groups"), group_names=tuple(map(str, self.group_names)))

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def units(self) -> int:
        """What is independent of each other: groups, or rows where each stands alone."""
        return units(self.groups, len(self))

    @property
    def origin(self) -> str:
        """Data and split in one word, empty where either is unknown: two snapshots of the same rows share it."""
        return f"{self.data}:{self.split}" if self.data and self.split else ""

    @property
    def known_labels(self) -> Tensor:
        """`labels`, [N] int64.

        Raises: BadInput if the rows are unlabelled.
        """
        if self.labels is None:
            raise BadInput("these rows have no labels; held-out rows of seen classes must be labelled.")
        return self.labels

    def rows(self, which: Tensor | slice) -> Snapshot:
        """The same snapshot with only the rows `which` ([N] bool, indices, or a slice, which makes views)."""
        logits = _picked(self.logits, which)
        return replace(
            self,
            logits=logits,
            labels=None if self.labels is None else self.labels[which],
            features=None if self.features is None else _picked(self.features, which),
            groups=None if self.groups is None else self.groups[which],
            row_identities=(),
            checked=logits,
        )

    def thinned(self, most: int = 3 << 10) -> Snapshot:
        """Every second or third row or so, no more than `most`: for means and shares more rows tell no more.

        It is a view where the logits are one tensor. Snapshots of the same rows keep the same ones.
        """
        every = -(-len(self) // most)
        return self.rows(slice(None, None, every)) if every > 1 else self

    def with_logits(self, logits: Tensor, *, split: str | None = None) -> Snapshot:
        """The same rows with logits [N, C] that were made of finite ones, and so are not read to check them.

        Args:
            logits: finite.
            split: a new name for the rows; None keeps theirs.
        """
        return replace(self, logits=logits, checked=logits, split=self.split if split is None else split)

    def through(self, change: Callable[[Tensor], Tensor]) -> Snapshot:
        """The same rows with changed logits. A calibrator finds its classes among these by name (`by_name`).

        It is said where the calibrator was fitted to another model's answers, or for other seen classes.

        Raises: BadInput if its classes do not fit.
        """
        calibrator: object = change
        if not isinstance(calibrator, HasNames):
            return replace(self, logits=through(self.logits, change))
        fitted = calibrator.fitted
        say_if_of_another(fitted, self.model_identity)
        say_if_seen_differ(fitted, self.classes, self.seen.tolist())
        made = through(self.logits, by_name(change, self.classes))
        return replace(self, logits=made, row_identities=self.identities())

    def identities(self) -> tuple[str, ...]:
        """Fingerprints of the rows as the model answered them, which tell whether others are the same."""
        return self.row_identities or row_identities(self.logits, self.classes)

    def reordered(self, classes: Sequence[str]) -> Snapshot:
        """The same rows with their columns in the order of `classes`.

        Raises: BadInput if a class is in one of the two lists only.
        """
        if self.classes == tuple(classes):
            return self
        check_same_classes(self.classes, classes)
        where = {name: column for column, name in enumerate(self.classes)}
        order = torch.tensor([where[name] for name in classes], device=self.seen.device)
        logits = through(self.logits, lambda z: z[:, order])
        return replace(
            self,
            logits=logits,
            labels=None if self.labels is None else order.argsort()[self.labels],
            seen=self.seen[order],
            classes=tuple(classes),
            checked=logits,
        )

    def with_groups_of(self, other: Snapshot) -> Snapshot:
        """The same rows with the groups that another snapshot of them has, where this one has none.

        Raises: BadInput if both have groups that keep other rows together.
        """
        if other.groups is None:
            return self
        if self.groups is None:
            return replace(self, groups=other.groups, group_names=other.group_names)
        if len(self) != len(other) or not same_groups(self.groups, other.groups):
            raise BadInput(
                f"two snapshots of the same rows put them into other groups ({self.units} and {other.units}).\n"
                "  Give both the same groups, or only one of them any."
            )
        return self

    def answerable(self) -> Snapshot:
        """Only the rows whose label is a class that the model has."""
        if not self.lacks:
            return self
        has = torch.tensor([name not in set(self.lacks) for name in self.classes], device=self.logits.device)
        return self.rows(has[self.known_labels])

    def seen_rows(self) -> Snapshot:
        """Only the rows whose label is a seen class."""
        mask = self.seen[self.known_labels]
        return self if bool(mask.all()) else self.rows(mask)

    def unlabelled(self) -> Snapshot:
        """The same rows without their labels."""
        return replace(self, labels=None)


def _picked(tensor: Tensor, which: Tensor | slice) -> Tensor:
    if isinstance(tensor, Shards):
        return tensor.rows(torch.arange(len(tensor))[which] if isinstance(which, slice) else which)
    return tensor[which]


def seen_mask(indices: object, num_classes: int) -> Tensor:
    """[C] bool from class indices.

    Raises: BadInput for an index outside 0 … C-1 or given twice (a mask of 0 and 1 must be bool), and for the numbers
        0 and 1 of two classes, which may be meant as either; BadKind for fractions.
    """
    given = as_tensor(indices)
    if given.is_floating_point() or given.is_complex():
        raise BadKind(f"seen classes are whole numbers or one bool per class; their type is {given.dtype}.")
    indices = given.to(torch.int64).reshape(-1)
    check_no_mask(indices.tolist(), num_classes)
    if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < num_classes):
        raise BadInput(f"seen classes must be indices from 0 to {num_classes - 1}; given: {indices.tolist()}.")
    if len(indices.unique()) < len(indices):
        raise BadInput(
            f"seen classes are given twice: {indices.tolist()}. Give each index once; a mask of 0 and 1 must be bool."
        )
    mask = torch.zeros(num_classes, dtype=torch.bool, device=indices.device)
    mask[indices] = True
    return mask
