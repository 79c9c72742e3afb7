"""Batches of examples, ready for a network."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reclaim.core.errors import BadInput, BadKind
from reclaim.data.inputs.protocol import Augment, Inputs, Maker, tensors_in
from reclaim.data.records import Split

__all__ = ["Batch", "Batches", "Examples", "arriving", "batches", "batches_of", "made", "moved", "parts_of", "placed"]

Batch = tuple[Inputs, Tensor]  # inputs [B, …] and labels [B]

AHEAD = 2  # batches that may lie on a GPU at once


class Examples(Dataset[tuple[Inputs, Tensor]]):
    """A split as a torch dataset: inputs of the network, and labels.

    The randomness of example i depends on `seed` and i alone, whatever order, process or machine asks for it.
    """

    def __init__(self, split: Split, make: Maker, augment: Augment = "none", seed: Sequence[int] = (0,)):
        self.split, self.make, self.augment, self.seed = split, make, augment, tuple(seed)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> tuple[Inputs, Tensor]:
        random = np.random.default_rng([*self.seed, i]) if self.augment != "none" else None
        return made(self.split, i, self.make, self.augment, random), self.split.labels[i]

    def collate(self, examples: Sequence[tuple[Inputs, Tensor]]) -> Batch:
        """A batch of examples: inputs [B, …] and labels [B]."""
        return self.make.collate([x for x, _ in examples]), torch.stack([y for _, y in examples])


def made(
    split: Split, i: int, make: Maker, augment: Augment = "none", random: np.random.Generator | None = None
) -> Inputs:
    """The inputs of example i.

    Raises: BadInput, naming it, if it cannot be read, or no inputs can be made of it.
    """
    example = split.read(i)
    try:
        return make(example, augment, random)
    except BadInput as error:
        raise BadInput(f"{split.name(i)}: {error.what}", *error.do) from error


class _Whole(Dataset[Batch | BadInput | BadKind]):
    """Whole batches, made where they are asked for; what is wrong with one comes back from there as an error."""

    def __init__(self, examples: Examples, parts: Sequence[range]):
        self.examples, self.parts = examples, parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Batch | BadInput | BadKind:
        try:
            return self.examples.collate([self.examples[i] for i in self.parts[index]])
        except (BadInput, BadKind) as error:
            return error


@dataclass(frozen=True)
class Batches:
    """Batches in the order of their rows, made anew whenever they are gone through.

    Attributes:
        loader: makes them, one by one.
    """

    loader: DataLoader[Batch | BadInput | BadKind]

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            if isinstance(batch, BadInput | BadKind):
                raise batch
            yield batch


def batches(
    split: Split, make: Maker, batch_size: int, workers: int = 0, *, even: bool = False, pinned: bool = False
) -> Batches:
    """The split in its own order.

    Args:
        workers: processes that make batches; forked on Linux, where readers need not be picklable.
        even: no batch has more than one row less than another.
        pinned: in memory that a GPU copies from by itself.

    Raises: BadInput when an example cannot be read, or the examples of a batch differ in shape.
    """
    whole = _Whole(Examples(split, make), parts_of(len(split), batch_size, even=even))
    return batches_of(whole, workers, pinned=pinned)


def batches_of(
    whole: Dataset[Batch | BadInput | BadKind],
    workers: int,
    *,
    sampler: Iterable[Any] | None = None,
    pinned: bool = False,
) -> Batches:
    """Batches that a dataset makes whole, one for each of its items.

    Args:
        sampler: which items, in which order; by default all in their own.
        workers, pinned: as in `batches`.
    """
    loader = DataLoader(
        whole,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        pin_memory=pinned,
        worker_init_fn=_hushed,
    )
    return Batches(loader)


def _as_it_is(batch: Any) -> Any:
    return batch


def _hushed(_: int) -> None:
    """Say nothing in a process that decodes when nobody fetches its batch any more, as after Ctrl-C."""
    hook = sys.excepthook

    def without_broken(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, EOFError | ConnectionError | AuthenticationError):
            hook(kind, error, trace)

    sys.excepthook = without_broken


def parts_of(rows: int, batch_size: int, *, even: bool = False) -> list[range]:
    """Which rows each batch has."""
    if not even:
        return [range(first, min(first + batch_size, rows)) for first in range(0, rows, batch_size)]
    count = -(-rows // batch_size)
    return [range(rows * i // count, rows * (i + 1) // count) for i in range(count)]


def placed(x: Inputs, device: torch.device, *, wait: bool = True) -> Inputs:
    """Inputs [B, …] on the device, images with their channels last, which is up to twice as fast.

    Args:
        wait: until they are there. Otherwise what is run there next finds them, and a pinned source must not change.
    """
    if isinstance(x, Tensor):
        layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
        return x.to(device, memory_format=layout, non_blocking=not wait)
    return {name: placed(tensor, device, wait=wait) for name, tensor in x.items()}  # type: ignore[misc]


def moved(x: Inputs, device: torch.device) -> Inputs:
    """Inputs [B, …] on the device, laid out as they are."""
    return x.to(device) if isinstance(x, Tensor) else {name: tensor.to(device) for name, tensor in x.items()}


def arriving(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches; on a GPU each is copied there in a stream of its own, while what was given before it is computed.

    One that does not fit beside what is there is given as it is.
    """
    if device.type != "cuda":
        yield from batches
        return
    copying, running = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    under_way: deque[tuple[torch.cuda.Event, Batch]] = deque()  # they are held until they have been read
    for x, y in batches:
        if all(tensor.device == device for tensor in tensors_in(x)):  # made there, in the order of what is run
            yield x, y
            continue
        if len(under_way) == AHEAD:
            under_way.popleft()[0].synchronize()
        there: Batch = x, y
        try:
            with torch.cuda.stream(copying):
                there = placed(x, device, wait=False), y.to(device, non_blocking=True)
        except torch.OutOfMemoryError:
            pass
        running.wait_stream(copying)
        yield there
        under_way.append((running.record_event(), there))
    for event, _ in under_way:
        event.synchronize()
