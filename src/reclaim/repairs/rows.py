"""Which rows choose alpha, which certify the offset, and which report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor

from reclaim.core.errors import BadInput, few
from reclaim.core.groups import units
from reclaim.data.columns import shared_groups
from reclaim.data.division import divided
from reclaim.data.records import Data, Split
from reclaim.repairs.choices import Choices
from reclaim.snapshots.snapshot import Snapshot

__all__ = [
    "Both",
    "MoreEvidence",
    "Part",
    "Rows",
    "check_apart",
    "check_enough",
    "divide",
    "divide_rows",
    "for_statistics",
    "halved",
    "hold_out",
    "one_split",
    "separates",
]

log = logging.getLogger(__name__)

ENOUGH_TO_SEPARATE = 200  # held-out rows, or groups, from which on one half chooses alpha and the other certifies


class Pickable(Protocol):
    """Rows of any kind."""

    def __len__(self) -> int: ...

    @property
    def groups(self) -> Tensor | None:
        """[N], which of them belong together; None where each stands alone."""
        ...

    def rows(self, which: Tensor) -> Self:
        """Those at the indices `which`."""


P = TypeVar("P", bound=Pickable)
R = TypeVar("R")
S = TypeVar("S")
N = TypeVar("N", "Part", "Both")


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of data that networks have yet to answer.

    Attributes:
        data: whose classes and seen ones these are.
        split: the examples.
        name: the split's name in snapshots of them.
    """

    data: Data
    split: Split
    name: str = ""

    def __len__(self) -> int:
        return len(self.split)

    @property
    def groups(self) -> Tensor | None:
        """Which rows belong together, [N]."""
        return self.split.groups

    def rows(self, which: Tensor) -> Part:
        """Those at the indices `which`."""
        return replace(self, split=self.split.rows(which))

    def named(self, name: str) -> Part:
        """The same rows under another name."""
        return replace(self, name=name)


@dataclass(frozen=True, eq=False)
class Both:
    """What two models answered on the same rows, over the same classes.

    Attributes:
        before, after: of the pretrained and of the fine-tuned model.
    """

    before: Snapshot
    after: Snapshot

    def __len__(self) -> int:
        return len(self.after)

    @property
    def groups(self) -> Tensor | None:
        """Which rows belong together, [N]: `aligned` snapshots say the same."""
        return self.after.groups

    def rows(self, which: Tensor | slice) -> Both:
        """Those at `which`."""
        return Both(self.before.rows(which), self.after.rows(which))

    def named(self, name: str) -> Both:
        """The same rows under another name."""
        return Both(replace(self.before, split=name), replace(self.after, split=name))

    def thinned(self, most: int) -> Both:
        """Every second or third row or so, no more than `most`."""
        return Both(self.before.thinned(most), self.after.thinned(most))


@dataclass(frozen=True)
class Rows(Generic[R]):
    """What each row of a repair is for.

    Attributes:
        held_out: rows of seen classes that neither model was trained on.
        choose: those of them that choose alpha and the shifts of single classes.
        certify: those of them that choose the offset, and certify it where they are others than `choose`.
        report: rows of all classes, which choose nothing.
    """

    held_out: R
    choose: R
    certify: R
    report: R

    @property
    def separate_rows(self) -> bool:
        """Whether other rows choose the offset than alpha, so that they can certify what was chosen."""
        return self.certify is not self.choose


@dataclass(frozen=True)
class MoreEvidence(Generic[R]):
    """What there is beside held-out rows of seen classes; None for what there is not.

    Attributes:
        unlabelled: rows of the target domain; labels they may have are not read.
        source: labelled rows of all classes from the pretraining domain.
        labelled: labelled rows of all classes from the target domain.
    """

    unlabelled: R | None = None
    source: R | None = None
    labelled: R | None = None

    def map(self, change: Callable[[R], S]) -> MoreEvidence[S]:
        """The same kinds, each changed."""
        kinds = (self.unlabelled, self.source, self.labelled)
        return MoreEvidence(*(None if rows is None else change(rows) for rows in kinds))


def divide(data: Data, choices: Choices = Choices()) -> Rows[Part]:
    """The rows of data: half of the held-out ones choose and half certify, where there are enough.

    Raises: BadInput if there are no such rows.
    """
    held_out, report = hold_out(data, choices)
    return halved(Part(data, held_out), Part(data, report), choices)


def hold_out(data: Data, choices: Choices = Choices()) -> tuple[Split, Split]:
    """Held-out rows, of seen classes only, and rows that report, of all.

    With a "val" and a "test" split these are they. With one split besides "train", a random share of it is held out and
    the rest reports. Training rows never serve: a model is too sure of what it was trained on.

    Raises: BadInput if there are no such rows.
    """
    if {"val", "test"} <= data.splits.keys():
        held_out, report = data.seen_only("val"), data.split("test")
        check_apart(held_out, report)
    else:
        kept = [name for name in data.splits if name != "train"]
        if len(kept) != 1:
            raise BadInput(
                f"a repair needs rows the model was not trained on, and {data.source} has the splits "
                f"{', '.join(data.splits)}.\n  Give a val/ and a test/ split, or one split to divide."
            )
        whole = data.split(kept[0])
        held_out, report = divide_rows(whole, data.seen[whole.labels], choices)
    check_enough(len(held_out), len(report), data.source)
    if data.report is None and "train" in data.splits:  # data that were opened say it themselves
        for sentence in shared_groups({"train": data.splits["train"], "the rows held out": held_out, "report": report}):
            log.warning("%s: a model may be too sure of what is like its training rows.", sentence)
    return held_out, report


def divide_rows(rows: P, seen: Tensor, choices: Choices = Choices()) -> tuple[P, P]:
    """A random share of the rows, of which those are held out that are `seen` ([N] bool); the rest reports.

    Rows of one group are on one side.
    """
    first, rest = divided(len(rows), round(choices.held_out * len(rows)), choices.seed, rows.groups)
    return rows.rows(first[seen.cpu()[first]]), rows.rows(rest)


def for_statistics(data: Data, rows: Rows[Part]) -> Split:
    """Rows that measure running statistics, for which no label is read: of training where there are some."""
    return data.seen_only("train") if "train" in data.splits else rows.held_out.split


def one_split(data: Data) -> Part:
    """The rows of more evidence: of "val", "test", "train" or the first split, the first there is."""
    name = next(name for name in ("val", "test", "train", *data.splits) if name in data.splits)
    return Part(data, data.split(name), name)


def check_enough(held_out: int, report: int, source: str) -> None:
    """Raise if there are too few rows to choose with or to report on."""
    if held_out < 2 or not report:
        raise BadInput(
            f"{source} leaves {held_out} held-out rows of seen classes to choose with and {report} rows "
            "to report on; at least 2 and 1 are needed."
        )


def check_apart(
    held_out: Split | Snapshot,
    report: Split | Snapshot,
    sides: tuple[str, str] = ('in "val"', 'in "test"'),
    advice: str = "Put all rows of a group into one split, or give one split to divide: groups are then kept together.",
) -> None:
    """Raise if rows of one group are in both; groups are compared by their names where both have some.

    Args:
        sides: where the rows are that choose, and those that report, for the message.
        advice: what to do about it.
    """
    if held_out.groups is None or report.groups is None:
        return
    by_name = bool(held_out.group_names and report.group_names)
    ours = _members(held_out, held_out.groups.unique().tolist(), by_name)
    theirs = _members(report, report.groups.unique().tolist(), by_name)
    both = sorted(set(ours) & set(theirs))
    if both:
        named = both if by_name or not report.group_names else [report.group_names[int(group)] for group in both]
        raise BadInput(
            f"{len(both)} groups have rows that choose, {sides[0]}, and rows that report, {sides[1]}: {few(named)}.\n"
            f"  {advice}"
        )


def _members(rows: Split | Snapshot, groups: list[int], by_name: bool) -> list[Any]:
    """Groups by number or by name."""
    return [rows.group_names[group] for group in groups] if by_name else groups


def halved(held_out: N, report: N, choices: Choices) -> Rows[N]:
    """Two random halves of the held-out rows, each in its own order, if they are separated; else all of them twice.

    Rows of one group are in one half.
    """
    report = report.named("report rows")
    if not separates(units(held_out.groups, len(held_out)), choices):
        choose = held_out.named("mix rows")
        return Rows(held_out, choose, choose, report)
    halves = divided(len(held_out), len(held_out) // 2, choices.seed + 1, held_out.groups)
    choose, certify = (held_out.rows(half) for half in halves)
    return Rows(held_out, choose.named("mix rows"), certify.named("offset rows"), report)


def separates(held_out: int, choices: Choices) -> bool:
    """Whether so many held-out rows, or groups of them, are separated, for one half to certify what the other chose."""
    chooses = choices.mix == "auto" or choices.class_shifts > 0
    return choices.prefer is None and held_out >= ENOUGH_TO_SEPARATE and chooses
