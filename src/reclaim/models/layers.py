"""What layers inside a network answer, by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.compat import leaves
from reclaim.core.errors import BadInput, few, unknown
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import moved
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, run
from reclaim.models.placement import device_of

__all__ = ["answers_within", "layer_names"]


def layer_names(model: Classifier) -> tuple[str, ...]:
    """The dotted names of all parts of the network, each before its own parts."""
    return tuple(name for name, _ in model.module.named_modules() if name)


@torch.no_grad()
def answers_within(model: Classifier, x: Inputs, names: Sequence[str]) -> dict[str, Tensor]:
    """What layers answer while the network runs in evaluation mode: by name, the first tensor of each.

    Of a layer that runs several times it is the latest answer.

    Args:
        x: inputs [B, …].
        names: dotted names of layers.

    Raises: BadInput for a layer that the network does not have, or does not run.
    """
    known = layer_names(model)
    for name in names:
        if name not in known:
            raise unknown(f"layer of {model.name or type(model.module).__name__}", name, known)
    layers = {name: model.module.get_submodule(name) for name in names}
    with evaluating(model.module) as module, _kept(layers) as found:
        run(module, moved(x, device_of(module)))
    if missing := [name for name in names if name not in found]:
        raise BadInput(f"the network runs without answers of the layers {few(missing)}; name others.")
    return {name: found[name] for name in names}


@contextmanager
def _kept(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, answer: Any) -> None:
            parts = answer.values() if isinstance(answer, Mapping) else [answer]
            tensors = [part for part in leaves(list(parts)) if isinstance(part, Tensor)]
            if tensors:
                found[name] = tensors[0].clone()  # what comes after may change it in place

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
