"""Any network of yours, made by a factory that can be imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from reclaim.core.errors import BadInput
from reclaim.models.classifier import Classifier
from reclaim.models.loading import from_factory
from reclaim.models.state_dicts import Which

__all__ = ["plain"]

_MOVED = {"reclaim.networks": "reclaim.models.networks"}  # as model directories and scripts spell it


def plain(
    name: str, checkpoint: Path | None = None, head: str | None = None, weights: Which | None = None
) -> Classifier:
    """A network made by ``module:function``, which you name and can import: plain/my_models:small_net@weights.pth.

    The function is called with ``num_classes=`` where it takes that, and without arguments otherwise. It answers a
    network, whose images are scaled to [0, 1] and nothing else, unless flags say more; or a `Classifier`, which says
    how its inputs are made.

    Source: your own code.
    """
    return from_factory(_factory(name), checkpoint, head, weights, library="plain", name=name)


def _factory(name: str) -> Callable[..., nn.Module | Classifier]:
    module_name, _, attribute = name.partition(":")
    module_name = _MOVED.get(module_name, module_name)
    if not attribute:
        raise BadInput(
            f"a plain model is named MODULE:FUNCTION, for example plain/my_models:small_net; given: {name!r}."
        )
    if "" not in sys.path:
        sys.path.insert(0, "")  # as python -m does: the user's own files come from where the command runs
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"the factory {name!r} cannot be imported: {error}.") from error
    if not callable(factory):
        raise BadInput(f"{name!r} is no function that makes a network, but {type(factory).__name__}.")
    return factory
