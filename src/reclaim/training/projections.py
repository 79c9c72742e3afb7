"""What is done with weights after a step, to stay near where a network started: plain functions, for any loop."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from reclaim.core.errors import BadInput
from reclaim.core.numbers import NotNegative, in_range
from reclaim.training.penalties import check_start
from reclaim.training.trained import Part, put_back

__all__ = ["keep_absent_rows", "keep_within"]


def keep_absent_rows(optimizer: Optimizer, head: nn.Module, seen: Tensor) -> RemovableHandle:
    """Let every step of the optimizer leave the head's rows of absent classes at the weights they have now.

    They stay bit for bit, whatever the loss, the momentum and the weight decay are.

    Args:
        head: a linear layer or a 1x1 convolution, one row per class.
        seen: [C] bool, True for classes whose rows are trained.

    Returns: a handle whose `remove` ends it.
    Raises: BadInput if `seen` has not one entry per row.
    """
    parameters = list(head.parameters(recurse=False))
    if not parameters or any(len(parameter) != len(seen) for parameter in parameters):
        sizes = ", ".join(str(len(parameter)) for parameter in parameters) or "no"
        raise BadInput(f"`seen` has {len(seen)} entries, and {type(head).__name__} has {sizes} rows: one per class.")
    put = put_back([Part(parameter, seen.bool()) for parameter in parameters])
    return optimizer.register_step_post_hook(lambda *_: put())


@torch.no_grad()
@in_range
def keep_within(network: nn.Module, start: Mapping[str, Tensor], radius: NotNegative) -> None:
    """Move every trained parameter that is farther than `radius` from its start back to that distance, straight.

        θ ← θ₀ + min(1, radius / ‖θ - θ₀‖) (θ - θ₀)

    Args:
        start: `start_of` the network before training.
        radius: in the Euclidean norm of a parameter as one vector; 0 puts the start back.

    Raises: BadInput if a start has another shape, or none of them is trained.
    Source: Gouk et al., "Distance-Based Regularisation of Deep Networks for Fine-Tuning", ICLR 2021.
    Differs: the norm is the Euclidean one, where the paper takes the largest sum of a row's absolute values.
    """
    for parameter, origin in check_start(network, start):
        way = parameter - origin
        length = float(way.norm())
        if length > radius:
            parameter.copy_(origin + way * (radius / length))
