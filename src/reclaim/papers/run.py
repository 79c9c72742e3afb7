"""Running an entry of `published/`: part by part, so that a run that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import reclaim
from reclaim.core.errors import Argument, BadInput
from reclaim.core.files import write_json
from reclaim.core.progress import track
from reclaim.core.records import read_record
from reclaim.papers.table import Rows, Table

__all__ = ["Experiment", "Setting", "Size", "run"]

Size = Literal["full", "quick", "smoke"]


@dataclass(frozen=True)
class Setting:
    """How an entry is run.

    Attributes:
        size: "full" as published, "quick" with fewer repetitions, "smoke" in seconds, which shows that it runs.
        root: the folder of its data and weights; None for an entry that needs none.
        device: where its networks are trained and run.
    """

    size: Size = "full"
    root: Path | None = None
    device: str = "auto"

    def folder(self) -> Path:
        """The folder of data and weights.

        Raises: BadInput if none was given, or it is not there.
        """
        if self.root is None:
            raise BadInput("this entry needs a folder of data and weights.", Argument("root", "say where it is"))
        if not self.root.is_dir():
            raise BadInput(f"there is no folder {self.root}.")
        return self.root


@dataclass(frozen=True)
class Experiment:
    """What an entry gives for a setting: a function ``(setting) -> Experiment`` with the name of its file.

    Attributes:
        name: of the entry; what is kept of its parts is no other's.
        parts: pieces of work by name. Each stands alone and gives numbers that JSON holds.
        table: what the numbers of all parts become.
        seconds: about how long a part takes on two cores.
    """

    name: str
    parts: Mapping[str, Callable[[], Rows]]
    table: Callable[[list[Rows]], Table]
    seconds: float

    @property
    def estimate(self) -> str:
        """How long all parts take."""
        total = len(self.parts) * self.seconds
        return f"{max(1, total):.0f} seconds" if total < 100 else f"{total / 60:.0f} minutes"


@dataclass(frozen=True)
class _Kept:
    """What is kept of a part: which one it is, and its numbers."""

    about: dict[str, Any]
    rows: Rows


def run(experiment: Experiment, setting: Setting, folder: Path | None = None) -> Table:
    """Run every part and make the table.

    Args:
        folder: where each part's numbers are kept. A part that this version ran with this setting is not run again.
    """
    made = [
        _kept(part, experiment.name, setting, folder / f"{name}.json") if folder else part()
        for name, part in track(experiment.parts.items(), "parts", total=len(experiment.parts))
    ]
    return experiment.table(made)


def _kept(part: Callable[[], Rows], paper: str, setting: Setting, path: Path) -> Rows:
    """What the part gave when it ran, or what it gives now."""
    about: dict[str, Any] = {"paper": paper, "size": setting.size, "root": setting.root and str(setting.root)}
    about["version"] = reclaim.__version__
    if path.is_file() and (kept := read_record(path, _Kept)).about == about:
        return kept.rows
    rows = part()
    write_json(path, {"about": about, "rows": rows})
    return rows
