"""Any network of yours, made by a factory that can be imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from torch import nn

from reclaim.core.blame import blamed
from reclaim.core.errors import BadInput, BadKind, unknown
from reclaim.models.classifier import Classifier
from reclaim.models.loading import from_factory
from reclaim.models.networks import FACTORIES
from reclaim.models.state_dicts import Which

__all__ = ["plain"]

OURS = ("reclaim.networks", "reclaim.models.networks")  # as model directories and scripts spell it


def plain(
    name: str, checkpoint: Path | None = None, head: str | None = None, weights: Which | None = None
) -> Classifier:
    """A network made by ``module:function``, which you name and can import: plain/my_models:small_net@weights.pth.

    The module is one that is installed, or lies where the command runs; it is the only one that is looked for there.
    The function is called with ``num_classes=`` where it takes that, and without arguments otherwise. It answers a
    network, whose images are scaled to [0, 1] and nothing else, unless flags say more; or a `Classifier`, which says
    how its inputs are made.

    Source: your own code.
    """
    return from_factory(_factory(name), checkpoint, head, weights, library="plain", name=name)


def _factory(name: str) -> Callable[..., nn.Module | Classifier]:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise BadInput(
            f"a plain model is named MODULE:FUNCTION, for example plain/my_models:small_net; given: {name!r}."
        )
    if module in OURS:  # which a model directory may name: nothing is imported by its word
        if attribute not in FACTORIES:
            raise unknown("network of Reclaim", attribute, list(FACTORIES))
        return FACTORIES[attribute]
    try:
        with _searched(Path.cwd()):
            factory = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # what a user's module does may end in any
        if not (said := blamed(error)) and not isinstance(error, ImportError | AttributeError | ValueError):
            raise
        raise BadInput(f"the factory {name!r} cannot be imported: {said or f'{error}.'}") from error
    if not callable(factory):
        raise BadInput(f"{name!r} is no function that makes a network, but {type(factory).__name__}.")
    return _told(factory, name)


def _told(factory: Callable[..., nn.Module | Classifier], name: str) -> Callable[..., nn.Module | Classifier]:
    """The factory, whose errors say where in the user's file they arose."""

    @wraps(factory)
    def make(*args: Any, **kwargs: Any) -> nn.Module | Classifier:
        try:
            return factory(*args, **kwargs)
        except (BadInput, BadKind):
            raise
        except Exception as error:
            if not (said := blamed(error)):
                raise
            raise BadInput(f"the factory {name!r} fails: {said}") from error

    return make


@contextmanager
def _searched(folder: Path) -> Iterator[None]:
    """Modules are looked for in a folder too, last of all: no file there can stand in for what is installed."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.reverse()  # the last one goes: whoever has the folder earlier keeps it
        sys.path.remove(str(folder))
        sys.path.reverse()
