"""Calibration rows as every fit takes them, and the way back from calibrated seen classes to all classes.

Rows that hold seen classes only can say how probable the seen classes are among each other, and nothing about absent
ones. So every calibrator is fitted on the softmax over the seen columns, treats the absent columns alike, and keeps the
balance between the groups where it was. With every class seen, all of this is the textbook method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from reclaim.calibration.protocol import Fitted
from reclaim.core.affine import Affine
from reclaim.core.arrays import Array, as_tensor, row_blocks
from reclaim.core.checks import check_kind
from reclaim.core.errors import Argument, BadInput, few, meant
from reclaim.core.joining import names_for
from reclaim.core.several import Several
from reclaim.snapshots.shards import by_rows
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Also", "Given", "Rows", "calibration_rows", "check_columns", "given_snapshot", "rejoin", "spread"]

Given: TypeAlias = Array | Snapshot  # logits [N, C]; or a snapshot, which has labels, seen classes and names besides
Also: TypeAlias = Array | None  # labels [N], or seen classes [C]; a snapshot has its own

EXACT = 1 << 18  # logits; the rounding errors of so few do not average out
_BLOCK = 7 << 18  # bytes: a block and its one buffer stay in the processor's cache


@dataclass(frozen=True)
class Rows:
    """Checked calibration rows.

    Attributes:
        logits: [N, C].
        labels: [N] int64, the position of each row's class among the seen ones.
        seen: [C] bool.
        classes: one name per class; empty if unknown.
        origin: data and split of the rows; empty if unknown.
        groups: [N] int64, which rows belong together; None where each stands alone.
        model_identity: of the model that answered; empty if unknown.
        row_identities: fingerprints of some of the rows.
    """

    logits: Tensor
    labels: Tensor
    seen: Tensor
    classes: tuple[str, ...] = ()
    origin: str = ""
    groups: Tensor | None = None
    model_identity: str = ""
    row_identities: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """K, the seen ones."""
        return int(self.seen.sum())

    def blocks(
        self, stride: int = 1, size: int = _BLOCK, *, us: Several = Several(), exact: bool | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits [n, K] of seen classes and labels [n], in blocks of `size` bytes, at least float32.

        Args:
            stride: every so many-th row only.
            us: of several processes, each goes over its own blocks; their sums must be added up.
            exact: in float64; by default where there are few.
        """
        columns = None if bool(self.seen.all()) else self.seen.nonzero().squeeze(1)
        exact = self.logits.nelement() <= EXACT if exact is None else exact
        every = list(row_blocks(self.logits, size * stride))
        own = us.share(len(every))
        for block in every[own.start : own.stop]:
            part = slice(block.start, min(block.stop, len(self)), stride)
            z = self.logits[part] if columns is None else self.logits[part].index_select(1, columns)
            yield z.to(torch.float64 if exact else torch.promote_types(z.dtype, torch.float32)), self.labels[part]

    def inside(self) -> tuple[Tensor, Tensor]:
        """All logits [N, K] of seen classes at once, and labels [N]."""
        blocks = list(self.blocks())
        return torch.cat([z for z, _ in blocks]), self.labels

    def per_row(self, count: int, numbers: Callable[[Tensor, Tensor], Sequence[Tensor] | Tensor]) -> Tensor:
        """[count, N] float64, what `numbers` makes of each row, given logits [n, K] and labels [n] of a block.

        Of several processes each reads its own rows.
        """
        exact = self.logits.nelement() <= EXACT

        def made(logits: Tensor, labels: Tensor) -> list[Tensor]:
            rows, start = logits.new_empty(count, len(labels), dtype=torch.float64), 0
            for z, y in replace(self, logits=logits, labels=labels, groups=None).blocks(exact=exact):
                for row, values in zip(rows, numbers(z, y), strict=True):
                    row[start : start + len(y)] = values
                start += len(y)
            return list(rows)

        return torch.stack(by_rows(made, self.logits, self.labels))

    def counts(self) -> Tensor:
        """[K] rows of each seen class."""
        return torch.bincount(self.labels, minlength=self.num_classes)

    def pick(self, which: Tensor) -> Rows:
        """Only the rows of the indices `which`, in their order here."""
        which = which.sort().values
        groups = None if self.groups is None else self.groups[which]
        return replace(self, logits=self.logits[which], labels=self.labels[which], groups=groups)

    def snapshot(self) -> Snapshot:
        """The rows as a snapshot, with labels among all classes."""
        labels = self.seen.nonzero().squeeze(1)[self.labels]
        return Snapshot(self.logits, labels, self.seen, classes=self.classes, groups=self.groups, checked=self.logits)

    def fitted(self, details: Mapping[str, Any]) -> Fitted:
        """What a fit to these rows leaves behind."""
        return Fitted(
            tuple(self.seen.tolist()),
            self.classes,
            self.origin,
            dict(details),
            model_identity=self.model_identity,
            row_identities=self.row_identities,
        )


def calibration_rows(
    given: Given,
    labels: Also = None,
    seen: Also = None,
    *,
    parameters_per_class: int = 0,
    safer: str | Argument = "temperature",
) -> Rows:
    """Check what a fit was given.

    Args:
        given: [N, C] logits; or a snapshot, alone.
        labels: [N] class indices; every row must belong to a seen class.
        seen: [C] bool; None says that every class was seen, and then every class must have a row.
        parameters_per_class: how many numbers will be fitted for each seen class; there must be as many rows in all.
        safer: what to recommend where there are fewer: methods, or an argument of the one that is being fitted.

    Raises: BadInput, BadKind with what is wrong, what was given and what to do.
    """
    rows = given_snapshot(given, labels, seen)
    y, n, c = rows.known_labels, len(rows), len(rows.seen)
    if not n:
        raise BadInput("a calibrator needs labelled rows; none were given.")
    if rows is not given and seen is None and not (present := torch.bincount(y, minlength=c) > 0).all():
        raise BadInput(
            f"the rows miss {int((~present).sum())} of {c} classes: {few((~present).nonzero().squeeze(1).tolist())}.\n"
            "  A calibrator fitted on them would push those classes down.\n"
            "  Say which classes were seen: `seen`, one bool per class."
        )
    foreign = (~rows.seen)[y].nonzero().squeeze(1)
    if len(foreign):
        row = int(foreign[0])
        raise BadInput(
            f"{len(foreign)} of {n} rows are of absent classes, the first is row {row} of class {int(y[row])}; "
            "a calibrator reads seen classes only.",
            Argument("seen", "leave them out, or mark every class as seen if the rows hold all of them"),
        )
    k = int(rows.seen.sum())
    if k < 2:
        raise BadInput(f"only {k} class is seen; there is nothing to calibrate between.")
    if n < parameters_per_class * k:
        what = f"{parameters_per_class * k} numbers ({parameters_per_class} for each of {k} seen classes)"
        if isinstance(safer, Argument):
            raise BadInput(f"{what} cannot be fitted to {n} rows.", safer)
        raise BadInput(f"{what} cannot be fitted to {n} rows; the safer method here is {safer}.")
    classes = rows.classes if rows is given else ()  # arrays have no names
    return Rows(
        rows.logits,
        (rows.seen.cumsum(0) - 1)[y],
        rows.seen,
        classes,
        rows.origin,
        rows.groups,
        model_identity=rows.model_identity,
        row_identities=rows.identities(),
    )


def given_snapshot(given: Given, labels: Also = None, seen: Also = None) -> Snapshot:
    """The snapshot that a fit was given, or one of the arrays that it was given.

    Raises: BadInput for a snapshot with labels or seen classes beside it, or logits without labels.
    """
    if isinstance(given, Snapshot):
        if labels is not None or seen is not None:
            raise BadInput("a snapshot has labels and seen classes itself: give it alone.")
        return given
    if labels is None:
        raise BadInput("a calibrator needs labelled rows: give labels [N] with the logits, or a snapshot.")
    z = as_tensor(given)
    every = torch.ones(z.shape[1] if z.ndim == 2 else 0, dtype=torch.bool)
    return Snapshot(z, labels, every if seen is None else as_tensor(seen))  # type: ignore[arg-type]


def check_columns(z: Tensor, seen: Sequence[bool], what: str) -> Tensor:
    """`seen` as a mask [C] beside `z` [N, C], which must have as many columns."""
    if z.ndim != 2 or z.shape[1] != len(seen):
        raise BadInput(f"this {what} is for {len(seen)} classes; the logits have the shape {list(z.shape)}.")
    check_kind(z)
    return torch.tensor(seen, dtype=torch.bool, device=z.device)


def rejoin(z: Tensor, seen: Tensor, inside: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Put calibrated logits of seen classes beside the absent ones without moving the balance between the groups.

    Args:
        z: [N, C], the logits before.
        seen: [C] bool.
        inside: [N, K], new logits of the seen classes; only their differences within a row count.
        scale: what the absent logits are multiplied with; a number, or [N, 1].

    Returns: [N, C]. The absent columns are ``scale z``; the seen ones are shifted row by row so that their largest is
        `scale` times what it was. So the margin between the groups is `scale` times what it was, and the group that
        wins a row wins it still.
    """
    if bool(seen.all()):
        return inside.to(z.dtype)
    columns = seen.nonzero().squeeze(1)
    best = scale * z.index_select(1, columns).amax(dim=1, keepdim=True).to(inside.dtype)
    # the largest new logit is the old one exactly, not up to rounding: a tie with an absent class stays a tie
    inside = (inside - inside.amax(dim=1, keepdim=True)) + best
    return (z * scale).to(z.dtype).index_copy(1, columns, inside.to(z.dtype))


def spread(inner: Affine, rest: tuple[float, float], fitted: Fitted, classes: Sequence[str]) -> Affine:
    """An affine map of the K seen logits as one of all logits of a model.

    Args:
        inner: the map of the seen logits.
        rest: scale and shift of every absent logit.
        fitted: the calibrator's seen classes and their names.
        classes: the model's; classes the calibrator does not know are absent ones. Empty: the calibrator's own.

    Raises: BadInput if the model lacks a seen class.
    """
    own, size, classes = fitted.classes, len(fitted.seen), names_for(fitted, classes)
    at = torch.tensor(fitted.seen, dtype=torch.bool).nonzero().squeeze(1)
    if classes and classes != own:
        place = {name: index for index, name in enumerate(classes)}
        names = [own[index] for index in at.tolist()]
        if missing := [name for name in names if name not in place]:
            raise BadInput(
                f"this calibrator's seen classes are not all among the model's: {few(missing)}.{meant(missing, place)}"
            )
        at, size = torch.tensor([place[name] for name in names]), len(classes)
    shift = torch.full((size,), rest[1], dtype=inner.shift.dtype).index_copy(0, at, inner.shift)
    scale = torch.full((size,), rest[0], dtype=inner.scale.dtype)
    if inner.scale.ndim == 1:
        return Affine(scale.index_copy(0, at, inner.scale), shift)
    whole = torch.diag(scale)
    whole[at[:, None], at[None, :]] = inner.scale
    return Affine(whole, shift)
