"""Which layer's output becomes the logits, found by running the network and not by the order of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from reclaim.core.errors import Argument, BadInput, few, unknown
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import moved
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.placement import device_of

__all__ = ["Layer", "NoHead", "check_head", "linear_layers", "trace_head", "trace_heads"]

Layer: TypeAlias = nn.Linear | nn.Conv2d


class NoHead(BadInput):
    """A network that runs, but none of whose layers answers the logits."""


Hook: TypeAlias = Callable[[nn.Module, Any, Tensor], Tensor | None]


def linear_layers(module: nn.Module) -> dict[str, Layer]:
    """The layers that may be a head, by dotted name in order of registration: linear ones, 1x1 convolutions."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if name and (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)))
    }


def check_head(module: nn.Module, name: str) -> str:
    """The name, if it is that of a layer that may be a head; BadInput lists those there are."""
    layers = linear_layers(module)
    if name not in layers:
        raise unknown(f"linear layer (nor 1x1 convolution) of {type(module).__name__}", name, list(layers))
    return name


@torch.no_grad()
def trace_head(module: nn.Module, x: Inputs) -> str:
    """The dotted name of the head: the layer with one output per class, each of which moves its own logit alone.

    Of the layers with as many outputs as there are logits, the one called last whose output is the logits; or, where
    the network goes on after it (a ReLU, an average, a scale), whose outputs, raised one by one, raise the logit of the
    same column and no other. Other heads may be registered or called after it. Where a constant on a row means nothing
    (a logarithm of softmax), one on the other logits is none; and where no layer moves one logit alone, the one
    is taken that moves its own most (a softmax).

    Args:
        x: inputs [B, …] that the network takes; one row is enough.

    Raises: BadInput if the network cannot take the inputs; NoHead if no layer is such, with those considered.
    """
    return trace_heads(module, x)[0]


@torch.no_grad()
def trace_heads(module: nn.Module, x: Inputs) -> tuple[str, ...]:
    """The head as `trace_head` finds it, and its twins: the other layers, if the logits are the mean of them all."""
    layers = linear_layers(module)
    calls: dict[str, Tensor] = {}

    def keep(name: str) -> Hook:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            calls.pop(name, None)  # the order is that of the last calls
            calls[name] = output

        return hook

    z = _logits(module, x, {layers[name]: keep(name) for name in layers})
    fit = [name for name in reversed(calls) if len(layers[name].weight) == z.shape[1]]
    same = [name for name in fit if calls[name].shape == z.shape]
    if len(same) > 1 and _is_mean(z, [calls[name] for name in same]):
        return tuple(same)
    responses: dict[str, Tensor] = {}
    for name in fit:
        if calls[name] is z or z.is_meta:  # on the meta device there are no values to compare
            return (name,)
        responses[name] = _responses(module, x, layers[name], calls[name], z)
        if _alone(responses[name]):
            return (name,)
    most = next((name for name in fit if _most(responses[name])), None)
    if most is None:
        raise _no_head(module, layers, calls, z.shape[1])
    return (most,)


def _is_mean(z: Tensor, outputs: list[Tensor]) -> bool:
    """Whether the logits are the mean of several layers' outputs, and none of these alone."""
    if z.is_meta or any(output is z or torch.equal(output, z) for output in outputs):
        return False
    return torch.allclose(torch.stack(outputs).mean(dim=0), z, rtol=1e-4, atol=1e-6)


def _logits(module: nn.Module, x: Inputs, hooks: Mapping[nn.Module, Hook]) -> Tensor:
    """The logits in evaluation mode, with hooks on layers; the same random numbers each time."""
    where = device_of(module)
    with (
        torch.random.fork_rng(devices=[where] if where.type == "cuda" else []),
        evaluating(module),
        _hooked(hooks),
    ):
        torch.manual_seed(0)
        return logits_of(module, moved(x, where))


@contextmanager
def _hooked(hooks: Mapping[nn.Module, Hook]) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook) for layer, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _responses(module: nn.Module, x: Inputs, layer: Layer, output: Tensor, z: Tensor) -> Tensor:
    """How the logits of the first row change when one unit is raised: [U, C] for the first, a middle and the last one.

    The unit's own logit stands in front.
    """
    size = z.shape[1]
    step = 1 + 2 * float(output.abs().max())  # enough to pass a ReLU
    found = []
    for unit in dict.fromkeys((0, size // 2, size - 1)):

        def raise_it(_: nn.Module, __: Any, given: Tensor, unit: int = unit) -> Tensor:
            made = given.clone()
            made.select(-1 if isinstance(layer, nn.Linear) else -3, unit).add_(step)
            return made

        change = (_logits(module, x, {layer: raise_it}) - z)[0].double()
        found.append(torch.cat([change[unit : unit + 1], change[:unit], change[unit + 1 :]]))
    return torch.stack(found)


def _alone(responses: Tensor) -> bool:
    """Whether each unit raises its own logit against all others, which keep their differences."""
    own, others = responses[:, 0], responses[:, 1:]
    if not others.shape[1]:
        return bool((own > 0).all())
    rise = own - others.amax(dim=1)
    return bool(((rise > 0) & (others.amax(dim=1) - others.amin(dim=1) <= 1e-3 * rise)).all())


def _most(responses: Tensor) -> bool:
    """Whether each unit raises its own logit, and no other one as much."""
    own, others = responses[:, 0], responses[:, 1:]
    return bool((own > 0).all()) and (not others.shape[1] or bool((own > others.amax(dim=1)).all()))


def _no_head(module: nn.Module, layers: Mapping[str, Layer], calls: Mapping[str, Tensor], size: int) -> NoHead:
    def said(name: str) -> str:
        return f"{name} ({len(layers[name].weight)} outputs{'' if name in calls else ', not called'})"

    considered = few([said(name) for name in reversed(list(layers))], 8) or "none, for it has none"
    return NoHead(
        f"no linear layer or 1x1 convolution of {type(module).__name__} is its head: of none do the outputs become the "
        f"{size} logits one by one.\n  Considered, from the last: {considered}.",
        Argument("head", "name it"),
    )
