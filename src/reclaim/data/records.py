"""Examples with labels, in splits over one list of classes. Nothing is decoded before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reclaim.core.errors import BadInput, few, meant, unknown
from reclaim.core.frozen import store
from reclaim.core.groups import check_members
from reclaim.data.noticed import Noticed
from reclaim.data.report import Report
from reclaim.data.splits import split_called

__all__ = ["Data", "Split"]


@dataclass(frozen=True)
class Picked:
    """Reads some of the examples that `read` reads, in the order of `where`."""

    read: Callable[[int], Any]
    where: list[int]

    def __call__(self, i: int) -> Any:
        return self.read(self.where[i])


@dataclass(frozen=True)
class Split:
    """Examples with labels.

    Attributes:
        labels: [N] int64, indices into the classes of the data.
        read: gives example i as stored, an image or an array; BadInput, naming it, if it cannot be read.
        name: what to call example i in a message.
        groups: [N] int64, which examples belong together (a patient, a document); None where each stands alone.
        group_names: the name of each group by its number; empty where they have none.
    """

    labels: Tensor
    read: Callable[[int], Any]
    name: Callable[[int], str]
    groups: Tensor | None = None
    group_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.groups is not None:
            store(self, groups=check_members(self.groups, len(self.labels), self.group_names))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def origin(self) -> tuple[Callable[[int], Any], Tensor]:
        """What reads the examples where they are stored, and which of them these are, [N]."""
        if isinstance(self.read, Picked):
            return self.read.read, torch.tensor(self.read.where, dtype=torch.int64)
        return self.read, torch.arange(len(self))

    def rows(self, which: Tensor) -> Split:
        """Only the examples `which`, a mask [N] or indices."""
        index = which.nonzero().squeeze(1) if which.dtype == torch.bool else which
        where = index.tolist()
        read, own = self.origin
        return Split(
            self.labels[index],
            Picked(read, own[index].tolist()),
            lambda i: self.name(where[i]),
            None if self.groups is None else self.groups[index],
            self.group_names,
        )


@dataclass(frozen=True)
class Data:
    """Splits of examples over one list of classes.

    Attributes:
        classes: C names, in the order of the labels.
        splits: by name: "train", "val", "test", or "all" where the source has no splits.
        seen: [C] bool, the classes of the training split; all of them where there is no training split.
        source: where it came from, for the record.
        report: what the source held when it was opened, and what was left out; None of data that a program made.
        noticed: what is noticed of images while they are read; None where nothing is.
    """

    classes: tuple[str, ...]
    splits: dict[str, Split]
    seen: Tensor
    source: str = ""
    report: Report | None = None
    noticed: Noticed | None = None

    @property
    def seen_classes(self) -> tuple[str, ...]:
        """The names of the seen classes, in the order of `classes`."""
        return tuple(name for name, is_seen in zip(self.classes, self.seen.tolist(), strict=True) if is_seen)

    def split(self, name: str) -> Split:
        """The split of that name, or of another name for it, such as "validation"; BadInput lists those there are."""
        found = name if name in self.splits else split_called(name)
        if found not in self.splits:
            raise unknown("split", name, list(self.splits))
        return self.splits[found]

    def seen_only(self, name: str) -> Split:
        """The rows of a split whose class is seen. No example of an absent class is read, here or later."""
        split = self.split(name)
        mask = self.seen[split.labels]
        return split if bool(mask.all()) else split.rows(mask)

    def over(self, classes: tuple[str, ...]) -> Data:
        """The same rows over a longer list of classes, which must have all of ours; the new ones are absent."""
        where = {name: index for index, name in enumerate(classes)}
        missing = [name for name in self.classes if name not in where]
        if missing:
            raise BadInput(f"classes of the data that the longer list lacks: {few(missing)}.{meant(missing, classes)}")
        index = torch.tensor([where[name] for name in self.classes])
        seen = torch.zeros(len(classes), dtype=torch.bool)
        seen[index] = self.seen
        splits = {name: replace(split, labels=index[split.labels]) for name, split in self.splits.items()}
        return replace(self, classes=tuple(classes), splits=splits, seen=seen)

    def with_seen(self, classes: tuple[str, ...]) -> Data:
        """The same data with other classes taken as seen.

        Raises: BadInput for a name that is not among the classes, or if none is given.
        """
        missing = [name for name in classes if name not in self.classes]
        if missing or not classes:
            raise BadInput(
                f"seen classes that the data do not have: {few(missing) or 'none were given'}.\n"
                f"  The data have {len(self.classes)} classes: {few(self.classes)}.{meant(missing, self.classes)}"
            )
        return replace(self, seen=torch.tensor([name in set(classes) for name in self.classes]))
