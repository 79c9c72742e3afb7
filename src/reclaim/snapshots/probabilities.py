"""Probabilities, as others store them: a snapshot holds logits, and their logarithm is that."""

from __future__ import annotations

from torch import Tensor

from reclaim.core.arrays import row_blocks
from reclaim.core.errors import Argument, BadInput
from reclaim.core.numbers import Share, in_range
from reclaim.snapshots.shards import through

__all__ = ["logarithm"]


@in_range
def logarithm(probabilities: Tensor, *, floor: Share = 0.0) -> Tensor:
    """Logits [N, C] that are the logarithms of probabilities; of those in parts when they are read.

    Args:
        floor: the probability that stands for smaller ones, zeros above all; 0 for none.

    Raises: BadInput if a row holds no probabilities, or a zero for which nothing stands.
    """
    if probabilities.ndim != 2 or not probabilities.is_floating_point():
        kind = f"{list(probabilities.shape)} of type {probabilities.dtype}"
        raise BadInput(f"probabilities must be [rows, classes], floating point; given: {kind}.")
    zeros, first = 0, ""
    for block in row_blocks(probabilities):
        p = probabilities[block]
        _check(p, block.start)
        if floor <= 0 and len(places := (p == 0).nonzero()):
            first = first or f"row {block.start + int(places[0, 0])}, column {int(places[0, 1])}"
            zeros += len(places)
    if zeros:
        raise BadInput(
            f"{zeros} probabilities are zero, the first in {first}; zero has no logarithm.",
            Argument("floor", "give the network's raw outputs, or say what stands for zero, as 1e-12"),
        )
    return through(probabilities, lambda p: (p.clamp_min(floor) if floor > 0 else p).log())


def _check(p: Tensor, start: int) -> None:
    sums = p.sum(dim=1).double()
    wrong = (~((p >= 0).all(dim=1) & ((sums - 1).abs() <= 1e-2))).nonzero().squeeze(1)  # not a number is wrong too
    if len(wrong):
        first = int(wrong[0])
        raise BadInput(
            f"row {start + first} holds no probabilities: they sum to {float(sums[first]):.4g}, or one is negative."
        )
