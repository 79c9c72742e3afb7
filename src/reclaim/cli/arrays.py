"""Flags that tell of logits from elsewhere what their files do not say."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from reclaim.core.errors import Argument, BadInput

if TYPE_CHECKING:
    from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Arrays"]


@Parameter(name="*")
@dataclass(frozen=True)
class Arrays:
    """What is told of logits in arrays or tables (.npy, .pt, .csv, Parquet).

    Attributes:
        labels: of logits from elsewhere: a file with one label per row, numbers of columns or names of classes.
        seen: the classes that the fine-tuning had: a file with one per line, names joined by commas, or of logits a
            file of an array. By default those a snapshot or a model's directory names, or those of the training split.
        all_classes: every class was seen; calibrate all of them, as one group.
    """

    labels: Path | None = None
    seen: str | None = None
    all_classes: bool = False

    def open(
        self,
        path: Path,
        classes: Path | None = None,
        *,
        same_rows: bool = True,
        alone: bool = True,
        probabilities: bool = False,
        floor: float = 0.0,
    ) -> "Snapshot":
        """The snapshot in a file.

        Args:
            classes: a file that names the columns.
            same_rows: whether the labels are those of its rows.
            alone: whether it is the only file; of several, each may say some of it itself.
        """
        from reclaim.snapshots.arrays import Told
        from reclaim.snapshots.reading import load_snapshot

        told = Told(self.labels, self.seen, self.all_classes, classes, if_missing=not alone)
        told = told if same_rows else replace(told, labels=None)
        return load_snapshot(path, probabilities=probabilities, floor=floor, told=told)

    def pair(self, before: Path, after: Path, classes: Path | None = None) -> tuple["Snapshot", "Snapshot"]:
        """The snapshots of two models on the same rows, each of which may say some of it itself.

        Raises: BadInput if both say all of it.
        """
        from reclaim.core.kinds import kind_of_file

        first, second = (self.open(path, classes, alone=False) for path in (before, after))
        told = {"labels": self.labels, "seen": self.seen, "classes": classes}
        ours = all(path.is_file() and kind_of_file(path) == "safetensors" for path in (before, after))
        if ours and (name := next((name for name, value in told.items() if value is not None), None)):
            raise BadInput(f"{before} and {after} say their {name} themselves.", Argument(name, "leave out"))
        return first, second

    @property
    def reads(self) -> tuple[str | Path | None, ...]:
        """The files that it reads."""
        return (self.labels, self.seen)
