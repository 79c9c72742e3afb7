"""The one training loop, on Accelerate: one core, many GPUs or many machines run the same code."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from math import cos, isfinite, pi
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from reclaim.core.errors import Argument, BadInput, Diverged
from reclaim.core.progress import track
from reclaim.data.inputs.protocol import Maker
from reclaim.data.records import Split
from reclaim.models.placement import enough_memory
from reclaim.training.arrivals import Placed, arrivals
from reclaim.training.batch import Batch
from reclaim.training.budget import Budget
from reclaim.training.engine import Engine, engine_of
from reclaim.training.held_out import HeldOut
from reclaim.training.kept import Kept
from reclaim.training.processes import accelerator_for
from reclaim.training.resume import RunState, Stateful
from reclaim.training.telling import Epoch, best_of, say_epoch, told
from reclaim.training.trained import Part

__all__ = ["Order", "module_steps"]

log = logging.getLogger(__name__)

Order = Callable[[int, torch.Generator], Tensor]


def module_steps(
    net: nn.Module,
    rows: Split,
    make: Maker,
    budget: Budget,
    *,
    params: Iterable[nn.Parameter | Part] | None = None,
    mode: Literal["train", "eval"] = "train",
    order: Order | None = None,
    span: range | None = None,
    state: Sequence[Stateful] = (),
    held_out: HeldOut | None = None,
) -> Iterator[Batch]:
    """Train any network in place: the batches of a budget, one by one; what is done with each is the caller's.

    Seeds, precision, processes, the learning rate, resuming and the display are taken care of. The learning rate falls
    along one cosine over the whole budget. Random numbers that are drawn between two batches depend on the seed, the
    batch's number and the process alone. Meanwhile the network lies on the budget's device, in the layout that is
    fastest there. However the loop is left, it is an ordinary one afterwards, where it was and in the memory it had,
    each part in the mode and each parameter with the flag of before, and the caller's random numbers go on as before.

    Args:
        make: makes the network's inputs of the examples that `rows` reads.
        params: what to train, parameters or rows of them; everything by default, the rest is frozen.
        mode: "eval" keeps running statistics and switches dropout off while training.
        order: from the number of an epoch and a seeded generator to the rows [M] of that epoch, in order, as often as
            it wants; M stays the same. By default every row once, shuffled.
        span: the batches of the budget to go through, where a run is one of several that share a budget in steps; all
            of them by default.
        state: what else changes while training, with `state_dict` and `load_state_dict`; saved and resumed with the
            run.
        held_out: what the network is measured on after each epoch, where somebody listens (`telling`) or the best is
            kept.

    Raises: BadInput if there is nothing to train on, the loss is no longer finite, the state found is another run's,
        there is no such device, it does not compute in the budget's precision, its memory does not hold a batch, or
        the best epoch is to be kept and there is nothing to measure it on.
    """
    if budget.spends_nothing:
        return
    _check_measured(budget, held_out)
    accelerator = accelerator_for(budget, net)
    course = _course(rows, budget, order, accelerator)
    span = range(course.total) if span is None else span
    given: list[nn.Parameter | Part] = list(net.parameters() if params is None else params)
    with (
        enough_memory(accelerator.device),
        engine_of(accelerator, net, given, budget, train=mode == "train") as engine,
    ):
        about = _about(budget, rows, span, course.total, engine.device)
        run = RunState(engine, about, span.start, state, Kept() if budget.keep == "best" else None)
        _say_begin(run, course, span, held_out)
        parts = course.parts(range(run.number, span.stop))
        arriving = arrivals(rows, make, budget, parts, accelerator.device)
        while run.number < span.stop or engine.batches:
            if not engine.batches or not course.ends_at(run.number, span):
                yield from _epoch(engine, course, run, span, arriving)
            _end_epoch(net, engine, course, run, span, held_out)  # at once, if the run was stopped just before it
        _put_best(net, run)


@dataclass(frozen=True)
class _Course:
    """Which rows every batch of a budget has, and this process's share of them.

    Attributes:
        length: rows that an epoch draws.
        size: rows per batch, over all processes.
        per_epoch, total: batches of an epoch and of the budget.
        rank, share: the number of this process, and of how many.
    """

    budget: Budget
    order: Order
    length: int
    size: int
    per_epoch: int
    total: int
    rank: int
    share: int

    @property
    def epochs(self) -> int:
        """Of the budget, the last of which may be cut short."""
        return -(-self.total // self.per_epoch)

    def ends_at(self, number: int, span: range) -> bool:
        """Whether the batch before this one is the last of an epoch, or of the span."""
        return number == span.stop or number % self.per_epoch == 0

    def drawn(self, epoch: int) -> Tensor:
        """The rows of an epoch [M]."""
        drawn = _drawn(self.order, self.budget, epoch)
        if len(drawn) != self.length:
            raise BadInput(f"the order of epoch {epoch + 1} has {len(drawn)} rows, that of the first {self.length}.")
        return drawn

    def parts(self, span: range) -> Iterator[tuple[int, Tensor]]:
        """This process's part of each batch: its epoch and its rows."""
        for number in span:
            epoch, batch = divmod(number, self.per_epoch)
            if batch == 0 or number == span.start:
                drawn = self.drawn(epoch)
            yield epoch, drawn[batch * self.size : (batch + 1) * self.size][self.rank :: self.share]


def _course(rows: Split, budget: Budget, order: Order | None, accelerator: Accelerator) -> _Course:
    """The course of a budget over these rows.

    Raises: BadInput if there is no row, or a batch does not divide over the processes.
    """
    share = accelerator.num_processes
    order = order or partial(_shuffled, len(rows))
    length = len(_drawn(order, budget, 0)) if len(rows) else 0
    size = min(budget.batch_size, length)
    if not length:
        raise BadInput("there is no row to train on.")
    if size % share:
        raise BadInput(f"a batch of {size} (of {length} training rows) does not divide over {share} processes.")
    total = length // size * budget.epochs if budget.steps is None else budget.steps
    return _Course(budget, order, length, size, length // size, total, accelerator.process_index, share)


def _shuffled(rows: int, epoch: int, random: torch.Generator) -> Tensor:
    return torch.randperm(rows, generator=random)


def _drawn(order: Order, budget: Budget, epoch: int) -> Tensor:
    """The rows of an epoch; the seed alone decides."""
    return order(epoch, torch.Generator().manual_seed(budget.seed * 1_000_003 + epoch))


def _epoch(engine: Engine, course: _Course, run: RunState, span: range, arriving: Iterator[Placed]) -> Iterator[Batch]:
    """The batches of one epoch, from where the run stands to before the end of the span."""
    budget, total, share = course.budget, course.total, course.share
    epoch, first = divmod(run.number, course.per_epoch)
    last = min(course.per_epoch, span.stop - run.number + first)
    batches: Iterator[Placed] = islice(arriving, last - first)
    if engine.accelerator.is_main_process:
        batches = track(batches, f"epoch {epoch + 1}/{course.epochs}", total=course.per_epoch, done=first)
    for x, y, rows in batches:
        number = run.number
        whole = (number - span.start + 1) % budget.accumulate == 0
        engine.set_rate(budget.learning_rate * (1 + cos(pi * number / total)) / 2)
        # dropout depends on seed, number and process alone, so that a resumed run repeats it
        drawn = (budget.seed * 1_000_003 + number) * share + course.rank
        with nullcontext() if whole else engine.accelerator.no_sync(engine.net):
            engine.begin(drawn, anew=(number - span.start) % budget.accumulate == 0)
            yield Batch(engine.net, x, y, rows, number, total, whole, engine)
        engine.batches += 1
        run.advance(whole)


def _end_epoch(
    net: nn.Module, engine: Engine, course: _Course, run: RunState, span: range, held_out: HeldOut | None
) -> None:
    """Measure what an epoch came to, keep its weights if it is the best and that is asked for, and say it."""
    epoch, main = (run.number - 1) // course.per_epoch, engine.accelerator.is_main_process
    mean = engine.summed_loss() / engine.batches  # waits for the device, once an epoch
    if not isfinite(mean):
        raise _not_finite(course.budget, epoch)
    listening = told()
    measured = held_out is not None and (listening is not None or run.kept is not None)
    accuracy = held_out.seen_accuracy(engine.accelerator) if held_out is not None and measured else None
    ended = Epoch(epoch + 1, run.number, mean, round(time.monotonic() - run.since, 3), accuracy)
    if run.kept is not None and best_of([*run.epochs, ended]) is ended:
        run.kept.take(net)
    run.log(ended, whole=run.number == span.stop or (run.number - span.start) % course.budget.accumulate == 0)
    if listening is not None:
        listening.append(ended)
        if main:
            say_epoch(ended, course.epochs, 0 if held_out is None else len(held_out.rows))


def _check_measured(budget: Budget, held_out: HeldOut | None) -> None:
    if budget.keep == "best" and held_out is None:
        raise BadInput(
            "the best epoch is the one with the highest seen accuracy on held-out rows, and the data have no "
            "validation rows of seen classes.",
            Argument("keep", "give a split val, or keep the last epoch", "last"),
        )


def _put_best(net: nn.Module, run: RunState) -> None:
    """Give the network the weights of its best epoch, where they were kept."""
    if run.kept is not None and (best := best_of(run.epochs)):
        run.kept.put(net)
        if run.accelerator.is_main_process:
            log.info("the weights are those of epoch %d, the best on held-out rows", best.epoch)


def _say_begin(run: RunState, course: _Course, span: range, held_out: HeldOut | None) -> None:
    """Say where a run goes on that was stopped, and what is not measured."""
    listening = told()
    if listening is not None:
        listening.extend(run.epochs)
    if not run.engine.accelerator.is_main_process:
        return
    epoch, batch = divmod(run.number, course.per_epoch)
    if run.resumed and run.number == span.stop:
        log.info("all %d batches of this run were trained before", len(span))
    elif run.resumed:
        log.info(
            "the run goes on where it was stopped, at epoch %d of %d, batch %d of %d",
            *(epoch + 1, course.epochs, batch + 1, course.per_epoch),
        )
    if listening is not None and held_out is None and run.number < span.stop:
        log.info("seen accuracy is not measured: the data have no validation rows of seen classes")


def _not_finite(budget: Budget, epoch: int) -> Diverged:
    if budget.precision == "no":
        return Diverged(
            f"the loss is no longer finite in epoch {epoch + 1}; the learning rate {budget.learning_rate:g} is "
            "probably too large for this network."
        )
    most = f"{torch.finfo(torch.float16 if budget.precision == 'fp16' else torch.bfloat16).max:.3g}"
    return Diverged(
        f"the loss is no longer finite in epoch {epoch + 1}: in the precision {budget.precision}, whose largest number "
        f"is {most}, the network's numbers probably overflow, or the learning rate {budget.learning_rate:g} is too "
        "large.",
        Argument("precision", "train in float32", "no"),
        Argument("learning_rate", "take smaller steps"),
    )


def _about(budget: Budget, rows: Split, span: range, total: int, device: torch.device) -> dict[str, Any]:
    """What decides a run: its state is resumed only by the same.

    Devices of one kind resume each other's states. One of another kind draws other random numbers and rounds otherwise.
    """
    about = asdict(budget) | {"device": device.type, "rows": len(rows)}
    del about["workers"]
    return about if span == range(total) else about | {"span": [span.start, span.stop]}
