"""One pass of a network over rows: on its device, batch by batch, with what its head takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from reclaim.core.inference import Inference, Precision
from reclaim.core.notes import note
from reclaim.core.progress import track
from reclaim.data.inputs.protocol import Inputs, part, tensors_in
from reclaim.data.loader import arriving, placed
from reclaim.data.records import Split
from reclaim.models.batches import Source, evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.placement import enough_memory, placed_on, where_to_run
from reclaim.models.precision import check_overflow, in_precision, said_change

__all__ = ["Take", "pass_over"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Take = Callable[[int, Tensor, Tensor], None]  # the first row, logits [B, C] and inputs of the head [B, D]

KEPT = 64 << 20  # bytes of answers that are left on a GPU before they are fetched


def pass_over(
    model: Classifier,
    rows: Split,
    classes: tuple[str, ...],
    take: Take,
    inference: Inference = Inference(),
    *,
    what: str = "predict",
    source: Source = evaluation_batches,
) -> None:
    """Run a network over rows in evaluation mode, and give its answers away block by block, on the CPU in float32.

    However that ends, the network is as it was. Where the memory of a GPU does not suffice for a batch, it is answered
    in halves, and so are those that follow.

    Args:
        classes: the columns of the logits; the model must have them all.
        take: is given each block: the first row, its logits [B, C], and what the head takes [B, D].
        what: the name of the work on a progress bar.
        source: where batches come from.

    Raises: BadInput if an example cannot be read, the network cannot take it, does not fit on the device with one row,
        or overflows in half precision.
    """
    where = where_to_run(inference.device, model.module)
    columns = None if model.classes == classes else model.columns(classes).to(where)
    less = inference.precision != "float32"
    with (
        torch.no_grad(),
        enough_memory(where),
        placed_on(model.module, where),
        evaluating(model.module) as module,
        _inputs_of(model.last_layer) as caught,
        in_precision(inference.precision, where),
    ):

        def answered(x: Inputs) -> tuple[Tensor, Tensor]:
            z = logits_of(module, placed(x, where))
            f = _averaged(caught.pop(), model.last_layer)
            caught.clear()
            return _own(z if columns is None else z[:, columns]), _own(f)

        batches = source(model, rows, inference)
        in_halves = _InHalves(where)
        kept = _Kept(_checked(take, model, rows, inference.precision, where) if less else take, where)
        for count, (x, _) in enumerate(track(arriving(batches, where), what, total=len(batches))):
            made = list(in_halves(answered, x))
            if less and not count:
                with in_precision("float32", where):
                    exact = list(_InHalves(where)(answered, x))
                z, z32 = (torch.cat([z for z, _ in answers]) for answers in (made, exact))
                said_change(z, z32, inference.precision, where)
            for z, f in made:
                kept.add(z, f)
        kept.hand_over()


def _checked(take: Take, model: Classifier, rows: Split, precision: Precision, where: torch.device) -> Take:
    """Takes what half precision holds, and says where it does not what float32 does."""

    def checked(first: int, z: Tensor, f: Tensor) -> None:
        bad = (~torch.isfinite(z)).any(dim=1).nonzero()
        if len(bad):
            row = first + int(bad[0])
            example = rows.read(row)
            x = placed(model.inputs(example, example), where)
            check_overflow(model.module, x, f"row {row} ({rows.name(row)})", precision, where)
        take(first, z, f)

    return checked


class _InHalves:
    """Runs a batch whole, or where memory does not suffice in halves, in quarters and so on, as those after it."""

    def __init__(self, where: torch.device) -> None:
        self.where = where
        self.most: int | None = None

    def __call__(self, answered: Callable[[Inputs], T], x: Inputs) -> Iterator[T]:
        rows, first = len(tensors_in(x)[0]), 0
        while first < rows:
            size = min(self.most or rows, rows - first)
            made = _unless_full(answered, x if size == rows else part(x, slice(first, first + size)), last=size == 1)
            if made is not None:
                yield made
                first += size
                continue
            self.most = -(-size // 2)
            if self.where.type == "cuda":
                torch.cuda.empty_cache()
            log.warning(
                "the memory of %s does not suffice for %d rows at a time; it goes on with %d",
                self.where,
                size,
                self.most,
            )
            note("rows_at_a_time", self.most, min)


def _unless_full(answered: Callable[[Inputs], T], x: Inputs, *, last: bool) -> T | None:
    """The answer, or None where memory does not suffice; by then nothing holds what was computed."""
    try:
        return answered(x)
    except torch.OutOfMemoryError:
        if last:
            raise
        return None


class _Kept:
    """Answers that are left where they are computed, and handed over in large blocks: each fetch waits for a GPU."""

    def __init__(self, take: Take, where: torch.device) -> None:
        self.take, self.most = take, 0 if where.type == "cpu" else KEPT
        self.first = self.bytes = 0
        self.blocks: list[tuple[Tensor, Tensor]] = []

    def add(self, z: Tensor, f: Tensor) -> None:
        """Keep a block, or hand over what there is with it."""
        self.blocks.append((z, f))
        self.bytes += z.nbytes + f.nbytes
        if self.bytes >= self.most:
            self.hand_over()

    def hand_over(self) -> None:
        """Give away what there is."""
        if self.blocks:
            z, f = (one[0] if len(one) == 1 else torch.cat(one) for one in zip(*self.blocks, strict=True))
            self.blocks.clear()
            self.bytes = 0
            self.take(self.first, z.cpu(), f.cpu())
            self.first += len(z)


def _own(answer: Tensor) -> Tensor:
    """The answer in float32; on a GPU, where it stays for a while, not where the network may write its next one."""
    return answer.float() if answer.device.type == "cpu" else answer.to(torch.float32, copy=True)


@contextmanager
def _inputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What a layer is given, the latest last."""
    caught: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])

    hook = layer.register_forward_pre_hook(keep)
    try:
        yield caught
    finally:
        hook.remove()


def _averaged(f: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """Inputs of the head [B, D], averaged over positions: [B, D, …] of a convolution, [B, …, D] of a linear layer."""
    if f.ndim == 2:
        return f
    return f.flatten(2).mean(dim=2) if isinstance(layer, nn.Conv2d) else f.flatten(1, -2).mean(dim=1)
