"""Our own small networks."""

from __future__ import annotations

from pathlib import Path

from reclaim.core.errors import unknown
from reclaim.models.classifier import Classifier
from reclaim.models.loading import from_factory
from reclaim.models.networks import FACTORIES
from reclaim.models.state_dicts import Which

__all__ = ["reclaim"]


def reclaim(
    name: str, checkpoint: Path | None = None, head: str | None = None, weights: Which | None = None
) -> Classifier:
    """A small network of Reclaim by its name, with a checkpoint of yours: reclaim/resnet20@weights.safetensors.

    Images are scaled to [0, 1] and nothing else, unless flags say more.

    Source: reclaim.models.networks.
    """
    if name not in FACTORIES:
        raise unknown("network of Reclaim", name, list(FACTORIES))
    return from_factory(FACTORIES[name], checkpoint, head, weights, library="reclaim", name=name)
