"""What a loss may add, to stay near where a network started: plain functions, for any loop."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput, few

__all__ = ["check_start", "squared_distance", "start_of"]


def start_of(network: nn.Module) -> dict[str, Tensor]:
    """The parameters as they are now, by name: where a network starts. Copies, where the parameters lie."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def squared_distance(network: nn.Module, start: Mapping[str, Tensor]) -> Tensor:
    """The squared distance of the trainable parameters from where they started, [], for a loss: ‖θ - θ₀‖².

    Args:
        start: `start_of` the network before training; parameters that it does not name do not count.

    Raises: BadInput if a start has another shape, or none of them is trained.
    Source: Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", ICML 2018 (L2-SP).
    Differs: no factor 1/2; a head counts too, if `start` has it.
    """
    moved = [(parameter - origin).square().sum() for parameter, origin in check_start(network, start)]
    return torch.stack(moved).sum()


def check_start(network: nn.Module, start: Mapping[str, Tensor]) -> list[tuple[nn.Parameter, Tensor]]:
    """The trained parameters that have a start, each with its own, on its device."""
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    both = [name for name in trained if name in start]
    if not both:
        raise BadInput(
            f"none of the {len(trained)} parameters that are trained ({few(trained, 3) or 'none'}) is among the "
            f"{len(start)} of the start ({few(start, 3) or 'none'}).\n  Take it of the same network: start_of(network)."
        )
    for name in both:
        if start[name].shape != trained[name].shape:
            raise BadInput(
                f"{name!r} started with shape {list(start[name].shape)}, and has {list(trained[name].shape)}."
            )
    return [(trained[name], start[name].to(trained[name].device)) for name in both]
