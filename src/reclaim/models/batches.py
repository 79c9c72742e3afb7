"""Where the batches come from that a network is run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from reclaim.core.inference import Inference
from reclaim.data.inputs.protocol import Inputs, tensors_in
from reclaim.data.loader import Batch, Batches, batches
from reclaim.data.records import Split
from reclaim.data.workers import default_workers
from reclaim.models.classifier import Classifier
from reclaim.models.placement import where_to_run

__all__ = ["Made", "Source", "batch_size_of", "evaluation_batches", "workers_for"]


class Made(Protocol):
    """Batches, made anew whenever they are gone through."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Source(Protocol):
    """Makes batches for a model of rows, in their order.

    A `chunk` is that many rows, or nearly so, in every batch, whatever batch size `inference` has.
    """

    def __call__(self, model: Classifier, rows: Split, inference: Inference, *, chunk: int | None = None) -> Made: ...


def evaluation_batches(model: Classifier, rows: Split, inference: Inference, *, chunk: int | None = None) -> Batches:
    """The rows in their own order, in batches that suit the device, or in chunks of nearly one size."""
    where = where_to_run(inference.device, model.module)
    size = chunk or batch_size_of(inference, where)
    workers = workers_for(model, rows, inference, where)
    pinned = where.type == "cuda" and torch.accelerator.is_available() and _on_cpu(model.inputs(rows.read(0)))
    return batches(rows, model.preprocess, size, workers, even=chunk is not None, pinned=pinned)


def workers_for(model: Classifier, rows: Split, inference: Inference, where: torch.device) -> int:
    """Processes that decode these rows."""
    if inference.workers is not None:
        return inference.workers
    return default_workers(rows, model.preprocess, batch_size_of(inference, where), on_gpu=where.type != "cpu")


def batch_size_of(inference: Inference, where: torch.device) -> int:
    """Examples at a time on that device."""
    return inference.batch_size or (32 if where.type == "cpu" else 256)


def _on_cpu(x: Inputs) -> bool:
    return all(tensor.device.type == "cpu" for tensor in tensors_in(x))
