"""A table of an experiment: its rows, and beside them those that were printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from reclaim.report.evaluate import Evaluation

__all__ = ["COLUMNS", "Cell", "Rows", "Table", "accuracies", "averaged"]

Rows = Mapping[str, Sequence[float | None]]  # numbers by the name of their row, in the order of the columns
COLUMNS = ("all", "seen", "absent", "absent among absent")


@dataclass(frozen=True)
class Cell:
    """A mean over the parts of an experiment.

    Attributes:
        mean: None if a part could not measure it.
        spread: the standard deviation; None for a single part.
    """

    mean: float | None
    spread: float | None = None

    def __str__(self) -> str:
        if self.mean is None:
            return "–"
        return f"{self.mean:.1f}" if self.spread is None else f"{self.mean:.1f} ± {self.spread:.1f}"


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        title: what is shown.
        corner: what the numbers are, with their unit.
        columns: their names.
        rows: cells by the name of their row; a row may end early.
        printed: the publication's numbers, by the names of rows that `rows` has too; empty if nothing is printed.
    """

    title: str
    corner: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]
    printed: Rows = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The table as JSON holds it."""
        return asdict(self)


def averaged(parts: Sequence[Rows]) -> dict[str, list[Cell]]:
    """Mean and standard deviation over parts that have the same rows."""
    return {name: [_cell(values) for values in zip(*(part[name] for part in parts), strict=True)] for name in parts[0]}


def _cell(values: Sequence[float | None]) -> Cell:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Cell(None)
    return Cell(fmean(known), stdev(known) if len(known) > 1 else None)


def accuracies(found: Evaluation) -> list[float | None]:
    """The accuracies of `COLUMNS`, in per cent."""
    shown = (getattr(found.accuracy, column.replace(" ", "_")) for column in COLUMNS)
    return [None if value is None else 100 * value for value in shown]
