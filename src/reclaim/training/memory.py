"""Batches that do not fit into a device's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from reclaim.data.inputs.protocol import Inputs
from reclaim.training.batch import Batch, OutOfMemory

__all__ = ["backward_in_pieces"]

log = logging.getLogger(__name__)


def backward_in_pieces(batch: Batch, loss: Callable[[Batch], Tensor], most: int) -> int:
    """Add the gradients of a loss, a mean over the batch, in pieces of `most` rows, or of fewer if these do not fit.

    The gradients are the same, but for what depends on the rows of a batch together: batch norm in training mode, which
    sees one piece at a time, and losses that compare rows. Random numbers are drawn piece by piece.

    Returns: how many rows fitted.
    Raises: OutOfMemory if one row does not fit, or what is done already cannot be begun again: gradients of earlier
        batches are added up, or other processes wait.
    """
    while True:
        rows, engine = min(most, len(batch.y)), batch.engine
        touched = False
        try:
            for piece, share in _pieces(batch, rows):
                mean = loss(piece) * share if share < 1 else loss(piece)
                touched = True
                piece.backward(mean)
            return most
        except (OutOfMemory, torch.OutOfMemoryError) as error:
            if rows == 1 or not engine.begin_again(untouched=not touched):
                raise error if isinstance(error, OutOfMemory) else batch.too_large() from error
        # only here, where the error no longer holds the tensors of what failed
        vars(batch).pop("answer", None)
        most = (rows + 1) // 2
        if engine.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning(
            "%d rows do not fit into the memory of %s: from here on gradients are computed from %d at a time and "
            "averaged, which are the same but for batch norm",
            rows,
            engine.device,
            most,
        )


def _pieces(batch: Batch, most: int) -> Iterator[tuple[Batch, float]]:
    """The batch in even pieces of at most so many rows, each with its share of them."""
    count = -(-len(batch.y) // most)
    if count == 1:
        yield batch, 1.0
        return
    for x, y, rows in zip(
        _split(batch.x, count), batch.y.tensor_split(count), batch.rows.tensor_split(count), strict=True
    ):
        yield replace(batch, x=x, y=y, rows=rows), len(y) / len(batch.y)


def _split(x: Inputs, count: int) -> list[Inputs]:
    if isinstance(x, Tensor):
        return list(x.tensor_split(count))
    return [
        dict(zip(x, parts, strict=True)) for parts in zip(*(t.tensor_split(count) for t in x.values()), strict=True)
    ]
