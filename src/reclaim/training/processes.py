"""The Accelerator of a run, in one process or several."""

from __future__ import annotations

from accelerate import Accelerator
from torch import nn

from reclaim.core.compat import process_on, reset_accelerator
from reclaim.core.errors import Argument, BadInput
from reclaim.core.several import processes, started
from reclaim.models.placement import device_of, where_to_run
from reclaim.training.budget import Budget

__all__ = ["accelerator_for"]


def accelerator_for(budget: Budget, net: nn.Module) -> Accelerator:
    """The Accelerator of a run of the network, on the device and in the precision of its budget; it moves no network.

    "auto" is the GPU on which the network lies, where one process trains it.

    Raises: BadInput if there is no such device, or it does not compute in that precision.
    """
    alone_there = budget.device == "auto" and device_of(net).type != "cpu" and started() == 1
    device = (process_on(where_to_run("auto", net)) if alone_there else processes(budget.device)).device
    if budget.precision == "fp16" and device.type == "cpu":  # Accelerate would train in float32 and say nothing
        raise BadInput(
            "a CPU does not train in half precision of the kind fp16.",
            Argument("precision", "train in the other kind", "bf16"),
            Argument("precision", "in float32", "no"),
        )
    reset_accelerator()  # each run may choose its own precision
    try:
        return Accelerator(cpu=device.type == "cpu", mixed_precision=budget.precision, device_placement=False)
    except ValueError as error:
        raise BadInput(
            f"the device {device} does not train in the precision {budget.precision}: {error}",
            Argument("precision", "train in float32", "no"),
        ) from error
