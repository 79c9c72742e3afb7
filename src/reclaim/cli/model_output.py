"""A model directory as commands write it: the model, and its card where its library's directories have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reclaim.core import disk
from reclaim.models.classifier import Classifier
from reclaim.models.directory import save_model
from reclaim.report.card import model_card
from reclaim.report.story import Sentence
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["write_model"]


def write_model(
    folder: Path, model: Classifier, done: Sequence[Sentence], rows: Mapping[str, Snapshot] | None = None
) -> None:
    """Write a model into a folder that exists, and README.md, the card, beside it where its library has such.

    Args:
        done: what was done to it, in sentences with a heading each.
        rows: answers on rows that chose nothing, by whose they are; those of the model itself last.
    """
    save_model(folder, model)
    if model.writer is not None:
        disk.write_text(folder / "README.md", model_card(model, done=done, rows=rows))
