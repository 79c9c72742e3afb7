"""Algebra on state dicts: pure functions from weights to weights or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from reclaim.core.errors import BadInput, few

__all__ = ["Weights", "check_same", "distance", "is_running_statistic", "mix"]

Weights: TypeAlias = dict[str, Tensor]


def check_same(theta_0: Mapping[str, Tensor], theta_1: Mapping[str, Tensor]) -> None:
    """Raise unless both have the same names with the same shapes."""
    if theta_0.keys() != theta_1.keys():
        only_0 = few([name for name in theta_0 if name not in theta_1]) or "none"
        only_1 = few([name for name in theta_1 if name not in theta_0]) or "none"
        raise BadInput(
            f"the two models are not the same architecture.\n  only before has: {only_0}\n  only after has: {only_1}"
        )
    for name, tensor in theta_0.items():
        if tensor.shape != theta_1[name].shape:
            raise BadInput(f"{name!r} has shape {list(tensor.shape)} before and {list(theta_1[name].shape)} after.")


def mix(theta_0: Mapping[str, Tensor], theta_1: Mapping[str, Tensor], alpha: float) -> Weights:
    """(1 - α) θ₀ + α θ₁, entry by entry, on the device of θ₁ and in the type of θ₀.

    The ends are bit-exact, equal entries stay bit-equal, and integer buffers are carried over from θ₁, not averaged.
    """
    check_same(theta_0, theta_1)
    return {
        name: torch.lerp(start.to(theta_1[name].device), theta_1[name].to(start.dtype), alpha)
        if start.is_floating_point()
        else theta_1[name].clone()
        for name, start in theta_0.items()
    }


@torch.no_grad()
def distance(theta_0: Mapping[str, Tensor], theta_1: Mapping[str, Tensor]) -> float:
    """Euclidean distance over all floating-point entries."""
    check_same(theta_0, theta_1)
    squares = [
        (theta_1[name].double() - start.to(theta_1[name].device).double()).square().sum()
        for name, start in theta_0.items()
        if start.is_floating_point()
    ]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def is_running_statistic(name: str) -> bool:
    """Whether an entry is a batch norm's running mean or variance."""
    return name.endswith(("running_mean", "running_var"))
