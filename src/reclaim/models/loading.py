"""Putting weights from a file into a network."""

from __future__ import annotations

from pathlib import Path

from reclaim.core.errors import BadInput, few
from reclaim.models.classifier import Classifier
from reclaim.models.weights import Weights

__all__ = ["fitted", "head_size"]


def fitted(model: Classifier, weights: Weights, source: Path) -> Classifier:
    """`model` with weights read from `source`; BadInput if they do not fit."""
    theirs = model.weights
    missing = [name for name in theirs if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in theirs and name != f"{model.head}.bias"]
    if missing or unexpected:
        raise BadInput(
            f"the weights in {source} do not fit {model.library}/{model.name}.\n"
            f"  missing: {few(missing, 3) or 'none'}\n  unexpected: {few(unexpected, 3) or 'none'}"
        )
    for name, tensor in weights.items():
        if name in theirs and tensor.shape != theirs[name].shape:
            raise BadInput(
                f"the weights in {source} do not fit {model.library}/{model.name}: {name} has shape "
                f"{list(tensor.shape)} there, {list(theirs[name].shape)} in the network."
            )
    return model.with_weights({name: theirs[name] for name in theirs if name not in weights} | weights)


def head_size(weights: Weights, head: str) -> int | None:
    """How many classes the weights answer; None if they have no such head."""
    weight = weights.get(f"{head}.weight")
    return None if weight is None else len(weight)
