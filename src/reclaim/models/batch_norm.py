"""Running statistics of batch norms after mixing weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.progress import track
from reclaim.data.loader import placed
from reclaim.data.records import Split
from reclaim.models.batches import Source, evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.placement import enough_memory, placed_on, where_to_run
from reclaim.models.precision import in_precision
from reclaim.models.weights import is_running_statistic

__all__ = ["measure_again", "statistics_differ", "with_statistics"]

ENOUGH = 4096  # rows after which statistics no longer change to speak of
CHUNK = 32  # rows that are normalised together; part of the method, so no matter of speed
LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def statistics_differ(theta_0: Mapping[str, Tensor], theta_1: Mapping[str, Tensor]) -> bool:
    """Whether two models' running statistics differ, so that those of their mixture are wrong."""
    return any(
        is_running_statistic(name) and not torch.equal(start, theta_1[name].to(start.device))
        for name, start in theta_0.items()
    )


def with_statistics(
    mixture: Classifier,
    before: Classifier,
    after: Classifier,
    alpha: float,
    rows: Split,
    inference: Inference = Inference(),
    *,
    source: Source = evaluation_batches,
) -> Classifier:
    """A mixture of two models, with running statistics measured on `rows` where those of the two differ.

    At alpha 0 and 1 it has those of one of them, which are right.
    """
    if 0 < alpha < 1 and statistics_differ(before.weights, after.weights):
        return measure_again(mixture, rows, inference, source=source)
    return mixture


def measure_again(
    model: Classifier, rows: Split, inference: Inference = Inference(), *, source: Source = evaluation_batches
) -> Classifier:
    """The classifier with running statistics measured on `rows`, without gradients; a copy.

    Each layer gets the mean and the variance of its inputs over all rows and positions. What reaches it was normalised,
    as in training, by the statistics of the chunk of rows that was running; everything else runs as in evaluation.
    Chunks are of about 32 rows, whatever the batch size of `inference` is, and in float32. The rows are shuffled,
    because in a folder they come class by class and chunks of one class vary too little, and of many rows some thousand
    are taken. Layers that are not called, and such without running statistics, stay as they are.

    Args:
        source: where batches come from.

    Raises: BadInput for less than two rows.
    """
    if len(rows) < 2:
        raise BadInput(f"running statistics are measured on two rows or more; given: {len(rows)}.")
    fresh = model.copy()
    where = where_to_run(inference.device, fresh.module)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:ENOUGH]
    chunks = source(model, rows.rows(order), inference, chunk=CHUNK)
    with (
        torch.no_grad(),
        enough_memory(where),
        placed_on(fresh.module, where, returns=True),
        evaluating(fresh.module) as module,
        _measuring(module),
        in_precision("float32", where),
    ):
        for x, _ in track(chunks, "batch norm", total=len(chunks)):
            logits_of(module, placed(x, where))
    return fresh


class _Moments:
    """Mean and variance of a layer's inputs, merged from chunk to chunk in float64.

    Attributes:
        count: rows and positions so far.
        mean, squares: [C] their mean, and the sum of squares about it.
        chunks: how many of them.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer, self.count, self.chunks = layer, 0, 0
        self.mean, self.squares = torch.zeros(()), torch.zeros(())

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Take the layer's inputs [B, C, …], and have the layer normalise them by their own statistics."""
        x = inputs[0].float()
        over = [0, *range(2, x.ndim)]
        mean = x.mean(dim=over)
        variance = (x - mean.view(1, -1, *[1] * (x.ndim - 2))).square_().mean(dim=over)
        count = x.numel() // x.shape[1]
        self._merge(count, mean.double(), count * variance.double())
        self.layer.running_mean.copy_(mean)  # type: ignore[operator]
        self.layer.running_var.copy_(variance)  # type: ignore[operator]

    def _merge(self, count: int, mean: Tensor, squares: Tensor) -> None:
        """Chan, Golub, LeVeque: "Updating formulae", 1979."""
        share, apart = count / (self.count + count), mean - self.mean.to(mean)
        self.squares = self.squares.to(mean) + squares + apart.square() * self.count * share
        self.mean = self.mean.to(mean) + share * apart
        self.count += count
        self.chunks += 1

    def put(self) -> None:
        """Give the layer what was measured; the variance is that of a sample, as torch keeps it."""
        if self.chunks:
            self.layer.running_mean.copy_(self.mean)  # type: ignore[operator]
            self.layer.running_var.copy_(self.squares / max(1, self.count - 1))  # type: ignore[operator]
            if self.layer.num_batches_tracked is not None:
                self.layer.num_batches_tracked.fill_(self.chunks)  # type: ignore[operator]


@contextmanager
def _measuring(module: nn.Module) -> Iterator[None]:
    """Every batch norm measures what comes in, and has the statistics of all of it afterwards."""
    layers = [part for part in module.modules() if isinstance(part, LAYERS) and part.running_mean is not None]
    measured = [_Moments(layer) for layer in layers]
    hooks = [layer.register_forward_pre_hook(moments) for layer, moments in zip(layers, measured, strict=True)]
    try:
        yield
        for moments in measured:
            moments.put()
    finally:
        for hook in hooks:
            hook.remove()
