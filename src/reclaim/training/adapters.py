"""Low-rank adapters on a classifier's layers, by peft: put on before training, merged into the weights after it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from reclaim.core.errors import BadInput, few
from reclaim.core.extras import require
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import moved
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, run
from reclaim.models.placement import device_of

__all__ = ["adaptable_layers", "adapted", "adapter_parameters", "merged", "without_fast_path"]

log = logging.getLogger(__name__)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NO_PRODUCTS = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.LayerNorm,
    ParametrizationList,
)  # others with weights of two dimensions or more


def adaptable_layers(model: Classifier, x: Inputs) -> list[str]:
    """The dotted names of the layers that adapters go on: all linear ones and convolutions but the head.

    They are found by running the network on inputs x [B, …], and not by their names. What peft cannot put a low-rank
    adapter on, or not merge exactly, is left out and said: grouped and dilated convolutions, those that pad with
    anything but zeros, and weights that several layers share or other parameters make.

    Raises: BadInput if no layer is left.
    """
    used, shared = _used(model.module, x), _shared(model.module)
    found: list[str] = []
    left: list[str] = []
    for name, layer in used.items():
        if name == model.head or any(name.startswith(f"{other}.") for other in found):
            continue
        (left if (why := _obstacle(layer, shared)) else found).append(name if not why else f"{name} ({why})")
    if left:
        log.warning("%d layers get no adapter and stay as they are: %s.", len(left), few(left, 8))
    if not found:
        raise BadInput(
            f"no layer of {model.name!r} but its head {model.head!r} can have a low-rank adapter.\n"
            "  Train it by another recipe: fine-tune, or frozen-backbone for the head alone."
        )
    return found


def adapted(
    model: Classifier, layers: Sequence[str], *, rank: int, scale: float, dropout: float, seed: int
) -> tuple[Classifier, Any]:
    """A copy of the classifier with new adapters on these layers, and peft's model around it; it answers the same.

    Args:
        scale: what the product of the two low-rank matrices is multiplied by.
        seed: of the first of the two; the other one starts at zero.
    """
    peft = require("peft", extra="peft")
    fresh = model.copy()
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=scale * rank,
        lora_dropout=dropout,
        target_modules="|".join(re.escape(name) for name in layers),  # a list would be taken for endings of names
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fresh, peft.get_peft_model(fresh.module, config)


def adapter_parameters(model: Classifier) -> list[nn.Parameter]:
    """What of the adapters is trained."""
    return [parameter for parameter in model.module.parameters() if parameter.requires_grad]


def merged(model: Classifier, wrapped: Any) -> Classifier:
    """The classifier with the weights that the adapters come to, in its own architecture.

    Args:
        wrapped: peft's model around the adapted copy, which is used up.
    """
    theta = wrapped.merge_and_unload().state_dict()
    return model.with_weights({name: theta[name] for name in model.weights})


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Within it torch's transformer layers call the layers they consist of, and with them their adapters."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@torch.no_grad()
def _used(module: nn.Module, x: Inputs) -> dict[str, nn.Module]:
    """The layers with weights that multiply, by dotted name, which the network calls for these inputs."""
    called: dict[str, nn.Module] = {}
    hooks = []
    for name, layer in module.named_modules():
        own = is_parametrized(layer) or any(p.ndim > 1 for p in layer.parameters(recurse=False))
        if name and own and not isinstance(layer, NO_PRODUCTS):
            hooks.append(layer.register_forward_pre_hook(lambda m, _, name=name: called.update({name: m})))
    try:
        with evaluating(module), without_fast_path():
            run(module, moved(x, device_of(module)))
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _shared(module: nn.Module) -> set[int]:
    """The parameters, by `id`, that lie in several places."""
    seen: set[int] = set()
    again: set[int] = set()
    for _, parameter in module.named_parameters(remove_duplicate=False):
        (again if id(parameter) in seen else seen).add(id(parameter))
    return again


def _obstacle(layer: nn.Module, shared: set[int]) -> str:
    """Why a layer gets no adapter; empty if it gets one."""
    if is_parametrized(layer):
        return "its weight is made of others"
    if any(id(parameter) in shared for parameter in layer.parameters()):
        return "its weight is shared"
    if isinstance(layer, nn.Linear):
        return ""
    if isinstance(layer, nn.MultiheadAttention):
        plain = layer.in_proj_weight is not None and layer.bias_k is None
        return "" if plain else "of keys and values of other sizes"
    if isinstance(layer, CONVOLUTIONS):
        if layer.groups > 1:
            return "grouped"
        if any(step != 1 for step in layer.dilation):
            return "dilated"
        return "" if layer.padding_mode == "zeros" else f"padded by {layer.padding_mode}"
    return type(layer).__name__
