"""Model and data in, snapshot out: one pass gives logits and features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from reclaim.core.checks import check_logits
from reclaim.core.errors import Argument, BadInput
from reclaim.core.inference import Inference
from reclaim.core.numbers import Bytes, in_range
from reclaim.core.several import several
from reclaim.data.records import Data, Split
from reclaim.models.batches import Source, evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.head import settled
from reclaim.models.identity import identity
from reclaim.models.passes import pass_over
from reclaim.snapshots.reading import reopen_snapshot
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import SHARD_SIZE, snapshot_file

__all__ = ["predict"]


@in_range
def predict(
    model: Classifier,
    data: Data,
    split: str,
    *,
    out: Path | None = None,
    features: bool = True,
    half: bool = False,
    shard_size: Bytes = SHARD_SIZE,
    inference: Inference = Inference(),
    source: Source = evaluation_batches,
) -> Snapshot:
    """Run a model over a split.

    Args:
        data: its classes, all of which the model must have, become the columns.
        split: the name of one of its splits.
        out: write a snapshot file block by block and open that, so that memory does not grow with the rows. Of several
            processes (`reclaim.core.several.joined`) each answers its own share of the rows and writes files of it.
        features: keep the inputs of the head too (averaged over positions where it has several).
        half: store logits and features in half precision.
        shard_size: bytes; a larger snapshot is written as several files with an index.
        inference: batch size, workers, device, precision.
        source: where batches come from.

    Raises: BadInput if the split is missing or empty, a class is unknown to the model, an example is unreadable, or a
        number does not fit into half precision.
    """
    rows = data.split(split)
    if not len(rows):
        raise BadInput(f"the split {split!r} of {data.source} has no rows.")
    model = settled(model, data)
    dtype = torch.float16 if half else torch.float32
    about = Snapshot(
        logits=torch.zeros(0, len(data.classes)),
        labels=None,
        seen=data.seen,
        classes=data.classes,
        split=split,
        model=f"{model.library}/{model.name}",
        data=data.source,
        model_identity=identity(model.weights),
    )
    width = model.num_features if features else None
    run = partial(pass_over, model, classes=data.classes, inference=inference, what=split, source=source)
    if out is None:
        return _in_memory(about, rows, width, dtype, partial(run, rows))
    return _in_file(out, about, rows, width, dtype, shard_size, run)


def _in_file(
    out: Path,
    about: Snapshot,
    rows: Split,
    width: int | None,
    dtype: torch.dtype,
    shard_size: int,
    run: Callable[..., None],
) -> Snapshot:
    """What a run over rows answers, written block by block and opened again."""
    us = several()
    mine = us.share(len(rows))
    if len(set(us.each(about.model_identity))) > 1:
        raise BadInput(
            f"the {us.count} processes loaded other weights each, as a network that draws its first weights does.\n"
            "  Name a checkpoint or a model directory, which all of them read."
        )
    with snapshot_file(
        out,
        about,
        len(rows),
        width,
        groups=rows.groups,
        group_names=rows.group_names,
        dtype=dtype,
        shard_size=shard_size,
        us=us,
    ) as write:

        def take(own: int, z: Tensor, f: Tensor) -> None:
            first = mine.start + own
            check_logits(z, first)
            labels = rows.labels[first : first + len(z)]
            write(first, _stored(z, dtype, first), labels, None if width is None else _stored(f, dtype, first))

        if mine:
            run(rows if us.count == 1 else rows.rows(torch.arange(mine.start, mine.stop)), take=take)
    return reopen_snapshot(out)


def _in_memory(
    about: Snapshot, rows: Split, width: int | None, dtype: torch.dtype, run: Callable[..., None]
) -> Snapshot:
    """What a run answers as one snapshot, with `width` features or none."""
    logits = torch.empty(len(rows), len(about.classes), dtype=dtype)
    kept = None if width is None else torch.empty(len(rows), width, dtype=dtype)

    def take(first: int, z: Tensor, f: Tensor) -> None:
        logits[first : first + len(z)] = _stored(z, dtype, first)
        if kept is not None:
            kept[first : first + len(z)] = _stored(f, dtype, first)

    run(take=take)
    return replace(
        about, logits=logits, labels=rows.labels, features=kept, groups=rows.groups, group_names=rows.group_names
    )


def _stored(values: Tensor, dtype: torch.dtype, first: int) -> Tensor:
    """Values [B, …] in the type they are stored in.

    Raises: BadInput, with the row counted from `first`, if half precision does not hold them.
    """
    made = values.to(dtype)
    if dtype == torch.float16 and not bool(torch.isfinite(made).all()):
        lost = (torch.isfinite(values) & ~torch.isfinite(made)).any(dim=1).nonzero()
        if len(lost):
            row = int(lost[0])
            raise BadInput(
                f"half precision does not hold {float(values[row].abs().max()):.3g}, of row {first + row}; "
                "its largest number is 65504.",
                Argument("half", "store float32: leave out"),
            )
    return made
