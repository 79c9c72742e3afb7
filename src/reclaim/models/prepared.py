"""Examples that are decoded once and kept, for networks that answer the same rows again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.compat import map_leaves
from reclaim.core.inference import Inference
from reclaim.core.memory import free_memory
from reclaim.core.progress import track
from reclaim.data.inputs.arrays import AsTensors
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.protocol import Augment, Inputs, Maker, size_in_bytes
from reclaim.data.loader import Batch, batches, parts_of
from reclaim.data.records import Split
from reclaim.models.batches import Made, batch_size_of, evaluation_batches, workers_for
from reclaim.models.classifier import Classifier
from reclaim.models.placement import where_to_run

__all__ = ["SHARE", "Prepared"]

log = logging.getLogger(__name__)

SHARE = 0.25  # of the memory that is free, for examples that are kept


class Prepared:
    """A source of batches that prepares each example once for all models whose inputs are made alike.

    On a GPU they lie there, where a share of its free memory holds them; else in main memory, in the same share of what
    is free. Those for which neither suffices are decoded again each time, which is said. All is free again with it.

    Args:
        share: of the free memory.
    """

    def __init__(self, share: float = SHARE) -> None:
        self.share = share
        self.kept: list[_Examples] = []
        self.room: dict[torch.device, float] = {}

    def __call__(self, model: Classifier, rows: Split, inference: Inference, *, chunk: int | None = None) -> Made:
        """Batches as `evaluation_batches` makes them."""
        read, index = rows.origin
        examples = self._of(read, model.preprocess)
        if not self._prepare(examples, index.tolist(), model, rows, inference):
            return evaluation_batches(model, rows, inference, chunk=chunk)
        size = chunk or batch_size_of(inference, where_to_run(inference.device, model.module))
        return _Again(examples, index.tolist(), rows.labels, parts_of(len(rows), size, even=chunk is not None))

    def _of(self, read: Callable[[int], Any], make: Maker) -> _Examples:
        """What was prepared so of these examples."""
        for one in self.kept:
            if one.read is read and one.make == make:
                return one
        self.kept.append(_Examples(read, make))
        return self.kept[-1]

    def _prepare(
        self, examples: _Examples, index: list[int], model: Classifier, rows: Split, inference: Inference
    ) -> bool:
        """Prepare those that are not yet; False where they find no room."""
        missing = [position for position, i in enumerate(index) if i not in examples.ready]
        if not missing:
            return True
        where = where_to_run(inference.device, model.module)
        place = self._place(len(missing) * size_in_bytes(model.inputs(rows.read(missing[0]))), model.preprocess, where)
        if place is None:
            log.info(
                "%d examples do not fit into %.0f %% of the free memory: they are decoded each time they are needed",
                len(missing),
                100 * self.share,
            )
            return False
        some = rows if len(missing) == len(rows) else rows.rows(torch.tensor(missing))
        size = batch_size_of(inference, where)
        loader = batches(some, _Apart(model.preprocess), size, workers_for(model, some, inference, where))
        made = (one for x, _ in track(loader, "preparing", total=len(loader)) for one in _each(x, place))
        examples.ready.update(zip((index[position] for position in missing), made, strict=True))
        return True

    def _place(self, wanted: int, make: Maker, where: torch.device) -> torch.device | None:
        """Where so many bytes of examples find room, which is then taken."""
        on_gpu = where.type == "cuda" and isinstance(make, Preprocess | AsTensors)  # whose batches can be made there
        for place in (*([where] if on_gpu else []), torch.device("cpu")):
            room = self.room.setdefault(place, self.share * free_memory(place))
            if wanted <= room:
                self.room[place] = room - wanted
                return place
        return None


@dataclass(frozen=True)
class _Examples:
    """Examples of one reader, prepared by one maker: `ready` has them by their index."""

    read: Callable[[int], Any]
    make: Maker
    ready: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Again:
    """Batches of examples that are ready."""

    examples: _Examples
    index: list[int]
    labels: Tensor
    parts: list[range]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        for part in self.parts:
            x = self.examples.make.collate([self.examples.ready[self.index[i]] for i in part])
            yield x, self.labels[part.start : part.stop]


@dataclass(frozen=True)
class _Sent:
    """A tensor on its way from another process; as one it would take a file there."""

    values: np.ndarray


@dataclass(frozen=True)
class _Apart:
    """Makes examples as another maker does, and of a batch a tensor [B, …] or a list, which `_each` takes apart."""

    make: Maker

    def __call__(self, example: Any, augment: Augment = "none", random: np.random.Generator | None = None) -> Inputs:
        return self.make(example, augment, random)

    def collate(self, inputs: Sequence[Any]) -> Any:
        if all(isinstance(x, Tensor) for x in inputs) and len({(x.shape, x.dtype) for x in inputs}) == 1:
            return torch.stack(list(inputs))
        return [map_leaves(Tensor, _sent, x) for x in inputs]


def _sent(tensor: Tensor) -> Tensor | _Sent:
    return _Sent(tensor.numpy()) if tensor.device.type == "cpu" and tensor.dtype != torch.bfloat16 else tensor


def _each(batch: Any, place: torch.device) -> list[Any]:
    """The examples of a batch, in memory of their own."""
    if isinstance(batch, Tensor):
        own = batch.to(place)
        return list(own.clone() if own.is_shared() else own)
    return [map_leaves(_Sent, lambda sent: torch.from_numpy(sent.values), x) for x in batch]
