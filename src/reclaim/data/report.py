"""What was found where data were opened, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reclaim.core.errors import few
from reclaim.core.terminal import printable

__all__ = ["LeftOut", "Report", "counts_of"]

MOST = 100  # names that a record keeps of one reason
QUIET = ("hidden", "of other programs")  # what nobody takes for an example


@dataclass(frozen=True)
class LeftOut:
    """What was left out for one reason.

    Attributes:
        why: the reason, in words that follow a number: "5 with the suffix .heic".
        count: how many files or folders; a folder counts once, whatever it holds.
        names: the first of them, relative to the source.
    """

    why: str
    count: int
    names: tuple[str, ...]

    @classmethod
    def of(cls, why: str, names: Iterable[str]) -> LeftOut:
        """All of `names`, of which the first are kept."""
        every = sorted(names)
        return cls(printable(why), len(every), tuple(map(printable, every[:MOST])))


@dataclass(frozen=True)
class Report:
    """What a source held when it was opened.

    Attributes:
        rows: of each split, how many rows each class has, in the order of the classes; those without rows are left out.
        left_out: what was left out, by reason.
        linked: files that symbolic links led to.
        by_content: images that only their content told from other files.
        notes: what was guessed, and what else is worth a word, a sentence each.
        folders: the folder of each split, where there are some.
        files: the files of each split, of tables and archives; None where the source is neither.
    """

    rows: Mapping[str, Mapping[str, int]]
    left_out: tuple[LeftOut, ...] = ()
    linked: int = 0
    by_content: int = 0
    notes: tuple[str, ...] = ()
    folders: Mapping[str, str] | None = None
    files: Mapping[str, Sequence[str]] | None = None

    @property
    def remarkable(self) -> bool:
        """Whether anything was left out or guessed."""
        return bool(self.left_out or self.notes)

    @property
    def worth_a_word(self) -> bool:
        """Whether something was left out that may have been meant as an example, or something was guessed."""
        return bool(self.notes) or any(one.why not in QUIET for one in self.left_out)

    def without(self, names: list[str], rows: Mapping[str, Mapping[str, int]]) -> Report:
        """The same, with unreadable examples left out too; `rows` are those that remain."""
        more = (LeftOut.of("unreadable", names),) if names else ()
        return replace(self, rows=rows, left_out=self.left_out + more)

    def line(self, source: str) -> str:
        """All of it in one line for people."""
        total = sum(sum(of_class.values()) for of_class in self.rows.values())
        classes = len({name for of_class in self.rows.values() for name in of_class})
        splits = ", ".join(f"{self._called(name)} {sum(of.values())}" for name, of in self.rows.items())
        parts = [f"{source}: {total} rows of {classes} classes ({splits})"]
        if self.by_content:
            parts.append(f"{self.by_content} known as images by their content")
        if self.linked:
            parts.append(f"{self.linked} by symbolic links")
        if self.left_out:
            parts.append("left out: " + few(map(_said, self.left_out), 8))
        return printable("; ".join((*parts, *self.notes)))

    def record(self) -> dict[str, Any]:
        """All of it for a file."""
        return {
            "rows": {split: dict(of_class) for split, of_class in self.rows.items()},
            "folders": None if self.folders is None else dict(self.folders),
            "left_out": [{"why": one.why, "count": one.count, "names": list(one.names)} for one in self.left_out],
            "files": None if self.files is None else {split: list(names) for split, names in self.files.items()},
            "linked": self.linked,
            "by_content": self.by_content,
            "notes": list(self.notes),
        }

    def _called(self, split: str) -> str:
        if self.files is not None and split in self.files:
            return f"{split} from {few(self.files[split], 2)}"
        folder = (self.folders or {}).get(split, split)
        return split if folder == split else f"{split} from {folder}/"


def _said(one: LeftOut) -> str:
    return f"{one.count} {one.why}" if one.why in QUIET else f"{one.count} {one.why} ({few(one.names, 3)})"


def counts_of(labels: Mapping[str, Tensor], classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """How many rows each class has in each split, those of no rows left out; labels [N] by split."""
    counts = {split: torch.bincount(y, minlength=len(classes)).tolist() for split, y in labels.items()}
    return {split: {name: n for name, n in zip(classes, of, strict=True) if n} for split, of in counts.items()}
