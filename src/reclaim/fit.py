"""The one training loop, on Accelerate: one core, many GPUs or many machines run the same code."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from itertools import count
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from reclaim.budget import Budget
from reclaim.classifier import Classifier
from reclaim.data import Data, Split
from reclaim.errors import BadInput
from reclaim.io import put_in_place, read_json, write_json
from reclaim.loader import Examples, collate, placed
from reclaim.progress import track

__all__ = ["Loss", "classification", "fit", "resuming"]

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

SECONDS_BETWEEN_CHECKPOINTS = 120.0

_folders: ContextVar[Iterator[Path] | None] = ContextVar("folders", default=None)


@contextmanager
def resuming(folder: Path) -> Iterator[None]:
    """Let the fits inside save their state in `folder`, and resume from it.

    A recipe that is repeated inside the same folder, with the same arguments, goes on where it was stopped and ends
    with the same weights. Each fit of the recipe has a folder of its own, numbered in order.
    """
    token = _folders.set(folder / f"fit-{number}" for number in count(1))
    try:
        yield
    finally:
        _folders.reset(token)


def classification(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy over all classes, seen and absent."""
    return cross_entropy(net(x), y)


def fit(
    model: Classifier,
    data: Data,
    budget: Budget,
    *,
    params: Iterable[nn.Parameter] | None = None,
    loss: Loss = classification,
    after_step: Callable[[], None] | None = None,
    mode: Literal["train", "eval"] = "train",
) -> Classifier:
    """Train a classifier in place on the training rows of seen classes.

    Rows of the head that belong to absent classes keep their weights, bit for bit, whatever the loss.

    Args:
        params: what to train; everything by default, the rest is frozen.
        loss: from the network, inputs [B, …] and the outputs' indices [B] to a number.
        after_step: called after every step, for projections.
        mode: "eval" keeps running statistics and switches dropout off while training.

    Returns: the same classifier.
    Raises: BadInput if there is nothing to train on, the loss is no longer finite, or the state found is another run's.
    """
    if not budget.epochs:
        return model
    rows = data.seen_only("train")
    model = model.bind(data.classes)
    rows = Split(model.columns(data.classes)[rows.labels], rows.read, rows.name)
    accelerator = _accelerator(budget)
    size = min(budget.batch_size, len(rows))
    share = accelerator.num_processes
    if not len(rows) or size % share:
        raise BadInput(
            f"a batch of {size} (of {len(rows)} training rows) does not divide over {share} processes."
            if len(rows)
            else f"the training split of {data.source} has no row of a seen class."
        )
    trained = list(model.module.parameters()) if params is None else list(params)
    steps = len(rows) // size
    keep_absent = _keeper(model, data)

    with torch.random.fork_rng(), _only_trained(model.module, trained):
        net, optimizer = accelerator.prepare(model.module, _optimizer(trained, budget))
        run = _Checkpoint(accelerator, budget, len(rows))
        net.train(mode == "train")
        while run.step < steps * budget.epochs:
            epoch, first = divmod(run.step, steps)
            total, done = torch.zeros((), device=accelerator.device), 0
            loader = _epoch(rows, model, budget, epoch, first, size, accelerator.process_index, share)
            for x, y in track(loader, f"epoch {epoch + 1}/{budget.epochs}", total=steps, done=first):
                for group in optimizer.param_groups:
                    group["lr"] = budget.learning_rate * (1 + cos(pi * run.step / (steps * budget.epochs))) / 2
                # dropout depends on seed, step and process alone, so that a resumed run repeats it
                torch.manual_seed((budget.seed * 1_000_003 + run.step) * share + accelerator.process_index)
                with accelerator.accumulate(net):
                    value = loss(net, placed(x, accelerator.device), y.to(accelerator.device))
                    accelerator.backward(value)
                    optimizer.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients:
                    keep_absent()
                    if after_step is not None:
                        after_step()
                total, done = total + value.detach(), done + 1
                run.advance()
            mean = float(total) / max(1, done)
            if not isfinite(mean):
                raise BadInput(
                    f"the loss is no longer finite in epoch {epoch + 1}; the learning rate {budget.learning_rate:g} is "
                    "probably too large for this network."
                )
            run.log({"epoch": epoch + 1, "loss": mean, "step": run.step})
    if (
        budget.precision != "no"
    ):  # leave an ordinary network: mixed precision put a forward of its own before the class's
        vars(accelerator.unwrap_model(net, keep_fp32_wrapper=False)).pop("forward", None)
    model.module.eval()
    return model


def _accelerator(budget: Budget) -> Accelerator:
    AcceleratorState._reset_state()  # each fit may choose its own precision
    return Accelerator(
        cpu=budget.device == "cpu",
        mixed_precision=budget.precision,
        gradient_accumulation_steps=budget.accumulate,
    )


def _optimizer(params: list[nn.Parameter], budget: Budget) -> torch.optim.Optimizer:
    if budget.optimizer == "adamw":
        return torch.optim.AdamW(params, lr=budget.learning_rate, weight_decay=budget.weight_decay)
    return torch.optim.SGD(
        params, lr=budget.learning_rate, momentum=0.9, nesterov=True, weight_decay=budget.weight_decay
    )


def _epoch(
    rows: Split, model: Classifier, budget: Budget, epoch: int, first: int, size: int, rank: int, share: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """This process's part of every full batch of an epoch, from batch `first` on; the seed alone decides the order."""
    shuffle = torch.Generator().manual_seed(budget.seed * 1_000_003 + epoch)
    order = torch.randperm(len(rows), generator=shuffle).tolist()
    full = [order[i : i + size][rank::share] for i in range(0, len(rows) - size + 1, size)]
    examples = Examples(rows, model.preprocess, budget.augment, (budget.seed, epoch))
    return DataLoader(examples, batch_sampler=full[first:], num_workers=budget.workers, collate_fn=collate)


def _keeper(model: Classifier, data: Data) -> Callable[[], None]:
    """A function that puts the absent classes' rows of the head back to what they are now."""
    layer = model.last_layer
    trained = {name for name, seen in zip(data.classes, data.seen.tolist(), strict=True) if seen}
    absent = torch.tensor([column for column, name in enumerate(model.classes) if name not in trained])
    kept = [
        (parameter, parameter.detach()[absent].clone())
        for parameter in (layer.weight, layer.bias)
        if parameter is not None and len(absent)
    ]

    @torch.no_grad()
    def keep() -> None:
        for parameter, start in kept:
            parameter[absent] = start.to(parameter.device)

    return keep


@contextmanager
def _only_trained(module: nn.Module, trained: list[nn.Parameter]) -> Iterator[None]:
    """Freeze every other parameter for a while."""
    before = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    chosen = {id(parameter) for parameter in trained}
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in chosen)
    try:
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag).grad = None


class _Checkpoint:
    """Where a run stands; inside `resuming`, also where it resumes from: the last of the folders ``step-N``."""

    def __init__(self, accelerator: Accelerator, budget: Budget, rows: int) -> None:
        folders = _folders.get()
        self.folder = next(folders) if folders else None
        self.accelerator, self.step, self.saved = accelerator, 0, time.monotonic()
        self.run = {key: value for key, value in asdict(budget).items() if key not in ("workers", "device")}
        self.run["rows"] = rows
        if last := self._last():
            found = read_json(last / "run.json")
            if found["run"] != self.run:
                other = [f"{key} was {found['run'].get(key)}, is {value}" for key, value in self.run.items()
                         if found["run"].get(key) != value]  # fmt: skip
                raise BadInput(
                    f"{self.folder} holds the state of another run ({'; '.join(other)}).\n"
                    "  Repeat its command to resume it, or remove the folder to start anew."
                )
            accelerator.load_state(str(last))
            self.step = found["step"]

    def advance(self) -> None:
        """Count a step, and save the state now and then."""
        self.step += 1
        if self.folder is not None and time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.save()

    def log(self, line: dict[str, Any]) -> None:
        """Note the end of an epoch, and save the state."""
        if self.folder is not None:
            self.save()
            if self.accelerator.is_main_process:
                with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write everything beside the last state, give it its name, and only then remove the last."""
        assert self.folder is not None
        main, wait = self.accelerator.is_main_process, self.accelerator.wait_for_everyone
        last, writing = self._last(), self.folder / "writing"
        if main:
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir(parents=True)
        wait()
        self.accelerator.save_state(str(writing))
        wait()
        if main:
            write_json(writing / "run.json", {"run": self.run, "step": self.step})
            put_in_place(writing, self.folder / f"step-{self.step}")
            if last is not None and last.name != f"step-{self.step}":
                shutil.rmtree(last, ignore_errors=True)
        wait()
        self.saved = time.monotonic()

    def _last(self) -> Path | None:
        """The folder of the last state, if there is one."""
        steps = self.folder.glob("step-*") if self.folder is not None else ()
        return max(steps, key=lambda path: int(path.name.removeprefix("step-")), default=None)
