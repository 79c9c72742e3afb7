"""The processes that train one network together, and the Accelerator of a run."""

from __future__ import annotations

from accelerate import Accelerator, PartialState
from accelerate.utils import get_int_from_env, parse_flag_from_env
from torch import nn

from reclaim.core.compat import process_on, reset_accelerator
from reclaim.core.devices import find_device
from reclaim.core.errors import Argument, BadInput
from reclaim.models.placement import device_of, where_to_run
from reclaim.training.budget import Budget

__all__ = ["accelerator_for", "end_together", "processes"]

STARTED = ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"]  # where launchers say how many


def processes(device: str = "auto") -> PartialState:
    """The processes that a launcher started, which one this is, and the device it trains on.

    Raises: BadInput if there is no such device; of several processes also if they are to share one, or do not find
        each other: each would train alone and write the same output.
    """
    started = get_int_from_env(STARTED, 1)
    if device == "auto" and parse_flag_from_env("ACCELERATE_USE_CPU"):
        device = "cpu"
    where = find_device(device)
    if started == 1:
        return process_on(where)
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(
            f"the launcher started {started} processes, and all of them were given the device {device!r}, but each "
            "takes a card of its own.",
            Argument("device", "let them", "cuda"),
            Argument("device", "let them run on the CPU", "cpu"),
        )
    # if it were not told, Accelerate would take each of several processes without a GPU to be alone
    state = PartialState(cpu=where.type == "cpu")
    if state.num_processes < started:
        raise BadInput(
            f"the launcher started {started} processes, but this one finds {state.num_processes}; each would write "
            "the same output.\n  Start one process, or several on CPUs: ACCELERATE_USE_CPU=true torchrun …"
        )
    return state


def end_together(several: PartialState) -> None:
    """Wait for the other processes and close what joins them: one that is left by another in the middle aborts."""
    if several.num_processes > 1:
        several.wait_for_everyone()
        several.destroy_process_group()


def accelerator_for(budget: Budget, net: nn.Module) -> Accelerator:
    """The Accelerator of a run of the network, on the device and in the precision of its budget; it moves no network.

    "auto" is the GPU on which the network lies, where one process trains it.

    Raises: BadInput if there is no such device, or it does not compute in that precision.
    """
    alone_there = budget.device == "auto" and device_of(net).type != "cpu" and get_int_from_env(STARTED, 1) == 1
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
