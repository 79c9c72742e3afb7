"""The one training loop, on Accelerate: one core, many GPUs or many machines run the same code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import cos, isfinite, pi
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from reclaim.core.compat import reset_accelerator
from reclaim.core.errors import BadInput
from reclaim.core.progress import track
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import Examples, placed
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.forward import logits_of
from reclaim.models.head import settled
from reclaim.training.budget import Budget
from reclaim.training.resume import RunState

__all__ = ["Loss", "classification", "fit"]

Loss = Callable[[nn.Module, Inputs, Tensor], Tensor]


def classification(net: nn.Module, x: Inputs, y: Tensor) -> Tensor:
    """Cross-entropy over all classes, seen and absent."""
    return cross_entropy(logits_of(net, x), y)


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
    model = settled(model, data)
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
        run = RunState(accelerator, budget, len(rows))
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
    if budget.precision != "no":  # an ordinary network again: mixed precision put its forward before the class's
        vars(accelerator.unwrap_model(net, keep_fp32_wrapper=False)).pop("forward", None)
    model.module.eval()
    return model


def _accelerator(budget: Budget) -> Accelerator:
    reset_accelerator()  # each fit may choose its own precision
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
) -> DataLoader[tuple[Inputs, Tensor]]:
    """This process's part of every full batch of an epoch, from batch `first` on; the seed alone decides the order."""
    shuffle = torch.Generator().manual_seed(budget.seed * 1_000_003 + epoch)
    order = torch.randperm(len(rows), generator=shuffle).tolist()
    full = [order[i : i + size][rank::share] for i in range(0, len(rows) - size + 1, size)]
    examples = Examples(rows, model.preprocess, budget.augment, (budget.seed, epoch))
    return DataLoader(examples, batch_sampler=full[first:], num_workers=budget.workers, collate_fn=examples.collate)


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
