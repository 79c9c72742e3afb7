"""The processes that train one network together, and the Accelerator of a run."""

from __future__ import annotations

from accelerate import Accelerator, PartialState
from accelerate.utils import get_int_from_env, parse_flag_from_env

from reclaim.core.compat import reset_accelerator
from reclaim.core.devices import find_device
from reclaim.core.errors import BadInput
from reclaim.training.budget import Budget

__all__ = ["accelerator_for", "end_together", "processes"]

STARTED = ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"]  # where launchers say how many


def processes(device: str = "auto") -> PartialState:
    """The processes that a launcher started, and which one this is.

    Raises: BadInput if they do not find each other: each would train alone and write the same output.
    """
    started = get_int_from_env(STARTED, 1)
    on_cpu = device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU")
    if started > 1 and find_device(device).type == "cpu":
        on_cpu = True  # without it Accelerate takes each of several processes without a GPU to be alone
    state = PartialState(cpu=on_cpu)
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


def accelerator_for(budget: Budget) -> Accelerator:
    """The Accelerator of a run, in the precision of its budget."""
    processes(budget.device)
    reset_accelerator()  # each run may choose its own precision
    return Accelerator(cpu=budget.device == "cpu", mixed_precision=budget.precision)
