"""Model and data in, snapshot out: one pass gives logits and features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reclaim.core.checks import check_finite
from reclaim.core.devices import find_device
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.progress import track
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import batches, placed
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.head import settled
from reclaim.models.placement import placed_on
from reclaim.snapshots.reading import reopen_snapshot
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import SHARD_SIZE, snapshot_file

__all__ = ["answers", "evaluation_batches", "predict"]


def predict(
    model: Classifier,
    data: Data,
    split: str,
    *,
    out: Path | None = None,
    features: bool = True,
    half: bool = False,
    shard_size: int = SHARD_SIZE,
    inference: Inference = Inference(),
) -> Snapshot:
    """Run a model over a split.

    Args:
        data: its classes, all of which the model must have, become the columns.
        split: the name of one of its splits.
        out: write a snapshot file block by block and open that, so that memory does not grow with the rows.
        features: keep the inputs of the head too (averaged over positions where it has several).
        half: store logits and features in half precision.
        shard_size: bytes; a larger snapshot is written as several files with an index.
        inference: batch size, workers, device.

    Raises: BadInput if the split is missing or empty, a class is unknown to the model, or an example is unreadable.
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
    )
    blocks = answers(model, rows, data.classes, inference, what=split)
    width = model.num_features if features else None
    if out is not None:
        with snapshot_file(
            out,
            about,
            len(rows),
            width,
            groups=rows.groups,
            group_names=rows.group_names,
            dtype=dtype,
            shard_size=shard_size,
        ) as write:
            for start, z, f in blocks:
                check_finite(z, start)
                write(start, z, rows.labels[start : start + len(z)], f)
        return reopen_snapshot(out)
    return _in_memory(about, rows, blocks, width, dtype)


def _in_memory(
    about: Snapshot,
    rows: Split,
    blocks: Iterable[tuple[int, Tensor, Tensor]],
    width: int | None,
    dtype: torch.dtype,
) -> Snapshot:
    """The blocks as one snapshot, with `width` features or none."""
    logits = torch.empty(len(rows), len(about.classes), dtype=dtype)
    kept = None if width is None else torch.empty(len(rows), width, dtype=dtype)
    for start, z, f in blocks:
        logits[start : start + len(z)] = z
        if kept is not None:
            kept[start : start + len(z)] = f
    return replace(
        about, logits=logits, labels=rows.labels, features=kept, groups=rows.groups, group_names=rows.group_names
    )


@torch.inference_mode()
def answers(
    model: Classifier,
    rows: Split,
    classes: tuple[str, ...],
    inference: Inference = Inference(),
    *,
    what: str = "predict",
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Blocks of (first row, logits [B, C] of `classes`, features [B, D]), in evaluation mode, on the CPU."""
    where = find_device(inference.device)
    columns = None if model.classes == classes else model.columns(classes).to(where)
    caught: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught[:] = [inputs[0]]

    hook = model.last_layer.register_forward_pre_hook(keep)
    try:
        with placed_on(model.module, where), evaluating(model.module) as module:
            start = 0
            loader = evaluation_batches(model, rows, inference)
            for x, _ in track(loader, what, total=len(loader)):
                z = logits_of(module, placed(x, where))
                f = _averaged(caught[0], model.last_layer)
                yield start, (z if columns is None else z[:, columns]).float().cpu(), f.float().cpu()
                start += len(z)
    finally:
        hook.remove()


def _averaged(f: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """Inputs of the head [B, D], averaged over positions: [B, D, …] of a convolution, [B, …, D] of a linear layer."""
    if f.ndim == 2:
        return f
    return f.flatten(2).mean(dim=2) if isinstance(layer, nn.Conv2d) else f.flatten(1, -2).mean(dim=1)


def evaluation_batches(model: Classifier, rows: Split, inference: Inference) -> DataLoader[tuple[Inputs, Tensor]]:
    """The rows in their own order, in batches that suit the device."""
    size = inference.batch_size or (32 if find_device(inference.device).type == "cpu" else 256)
    return batches(rows, model.preprocess, size, inference.workers)
