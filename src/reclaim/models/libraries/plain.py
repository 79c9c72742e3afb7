"""Any network of yours, made by a factory that can be imported."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Preprocess
from reclaim.models.checkpoint import load_weights
from reclaim.models.classifier import Classifier
from reclaim.models.head import find_head, first_channels
from reclaim.models.loading import fitted, head_size

__all__ = ["plain"]

_MOVED = {"reclaim.networks": "reclaim.models.networks"}  # as model directories and scripts spell it


def plain(name: str, checkpoint: Path | None = None) -> Classifier:
    """A network made by ``module:function``, which you name and can import: plain/my_models:small_net@weights.pth.

    The function is called with ``num_classes=`` where it takes that, and without arguments otherwise. Images are
    scaled to [0, 1] and nothing else, unless flags say more.

    Source: your own code.
    """
    factory = _factory(name)
    module = factory()
    if checkpoint is None:
        return _wrap(name, module)
    weights, container = load_weights(checkpoint)
    size = head_size(weights, find_head(module))
    if size is not None and "num_classes" in inspect.signature(factory).parameters:
        module = factory(num_classes=size)
    return replace(fitted(_wrap(name, module), weights, checkpoint), container=container)


def _wrap(name: str, module: nn.Module) -> Classifier:
    preprocess = Preprocess(channels=first_channels(module))
    return Classifier(module, find_head(module), preprocess=preprocess, library="plain", name=name)


def _factory(name: str) -> Callable[..., nn.Module]:
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
