"""The processes that a launcher started to do one job together: which one this is, and how they share rows.

By default a process works alone, whatever a launcher says: a program of several processes may call the library in one.
Inside `joined` they share the work of functions that say so. Imports no torch before several are joined.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from reclaim.core.devices import find_device
from reclaim.core.errors import Argument, BadInput

if TYPE_CHECKING:
    from accelerate import PartialState
    from torch import Tensor

__all__ = [
    "Several",
    "alone",
    "at_work",
    "end_together",
    "joined",
    "processes",
    "rank",
    "say_if_one_of_several",
    "several",
    "started",
]

log = logging.getLogger(__name__)

T = TypeVar("T")
COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # where launchers say how many
RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")


def started() -> int:
    """How many processes a launcher says that it started."""
    return _number(COUNTS, 1)


def rank() -> int:
    """Which of them this is, from 0."""
    return _number(RANKS, 0)


def _number(names: Sequence[str], default: int) -> int:
    return next((int(value) for name in names if (value := os.environ.get(name, "")).isdigit()), default)


@dataclass(frozen=True)
class Several:
    """Processes that share work.

    Attributes:
        rank: the number of this one, from 0.
        count: how many.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def share(self, items: int, rank: int | None = None) -> range:
        """Which of so many items in order are this process's, or another's: runs of nearly one length."""
        number = self.rank if rank is None else rank
        return range(items * number // self.count, items * (number + 1) // self.count)

    def each(self, value: T) -> list[T]:
        """The values of all processes, in their order; all of them must come here."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        made: list[T] = gather_object([value])
        return made

    def wait(self) -> None:
        """Wait until all are here."""
        self.each(None)

    def gathered(self, own: Tensor, items: int) -> Tensor:
        """The numbers [items, …] of all processes, of which these are this one's share, exactly as they are."""
        if self.count == 1:
            return own
        import torch.distributed

        whole = own.new_empty((items, *own.shape[1:]))
        sent = whole.view(torch.uint8) if own.dtype == torch.bool else whole  # some backends send no truth values
        for number in range(self.count):
            mine = self.share(items, number)
            if number == self.rank:
                whole[mine.start : mine.stop] = own
            if mine:
                torch.distributed.broadcast(sent[mine.start : mine.stop], src=number)
        return whole

    def summed(self, own: Tensor) -> Tensor:
        """The sum over processes, added up in their order: the same bits in each of them."""
        if self.count == 1:
            return own
        import torch.distributed

        parts = [torch.empty_like(own) for _ in range(self.count)]
        torch.distributed.all_gather(parts, own.contiguous())
        return torch.stack(parts).sum(dim=0)


_ALONE = Several()
_made_here: list[bool] = []  # whether it was here that these processes were joined, or a program had joined them
_now: ContextVar[Several] = ContextVar("several", default=_ALONE)


def several() -> Several:
    """The processes that share work here; one alone, where none were joined."""
    return _now.get()


@contextmanager
def joined(state: PartialState) -> Iterator[Several]:
    """Within it these processes share work; all of them must do the same in the same order."""
    us = Several(state.process_index, state.num_processes)
    token = _now.set(us)
    try:
        yield us
    finally:
        _now.reset(token)


@contextmanager
def at_work(device: str = "cpu") -> Iterator[Several]:
    """Within it the processes that a launcher started share work, and all of them are done when it ends.

    Raises: BadInput as `processes` does.
    """
    if started() == 1:
        say_if_one_of_several()
        yield _ALONE
        return
    state = processes(device)
    with joined(state) as us:
        yield us
        end_together(state)


@contextmanager
def alone() -> Iterator[None]:
    """Within it this process shares nothing."""
    token = _now.set(_ALONE)
    try:
        yield
    finally:
        _now.reset(token)


def processes(device: str = "auto") -> PartialState:
    """The processes that a launcher started, which one this is, and the device it computes on.

    Raises: BadInput if there is no such device; of several processes also if they are to share one, or do not find
        each other: each would do the whole alone and write the same output.
    """
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    from reclaim.core.compat import process_on

    count = started()
    if device == "auto" and parse_flag_from_env("ACCELERATE_USE_CPU"):
        device = "cpu"
    where = find_device(device)
    if count == 1:
        say_if_one_of_several()
        return process_on(where)
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(
            f"the launcher started {count} processes, and all of them were given the device {device!r}, but each "
            "takes a card of its own.",
            Argument("device", "let them", "cuda"),
            Argument("device", "let them run on the CPU", "cpu"),
        )
    from torch.distributed import is_available, is_initialized

    _made_here.append(not (is_available() and is_initialized()))
    # if it were not told, Accelerate would take each of several processes without a GPU to be alone
    state = PartialState(cpu=where.type == "cpu")
    if state.num_processes < count:
        raise BadInput(
            f"the launcher started {count} processes, but this one finds {state.num_processes}; each would write "
            "the same output.\n  Start one process, or several on CPUs: ACCELERATE_USE_CPU=true torchrun …"
        )
    return state


def say_if_one_of_several() -> None:
    """Accelerate's launcher, asked for several processes on CPUs, names a place to meet and starts one."""
    if "MASTER_ADDR" in os.environ and "ACCELERATE_MIXED_PRECISION" in os.environ and "WORLD_SIZE" not in os.environ:
        log.warning(
            "`accelerate launch` was asked for several processes and started one, as it does with --cpu; start them "
            "with ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node …"
        )


def end_together(state: PartialState) -> None:
    """Wait for the other processes and close what joins them: one that is left by another in the middle aborts.

    What joined them before stays open.
    """
    if state.num_processes > 1:
        state.wait_for_everyone()
        if any(_made_here):
            state.destroy_process_group()
