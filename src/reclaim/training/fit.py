"""Training a classifier: the loop over its training rows, and the shortest recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reclaim.core.errors import BadInput
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head import settled
from reclaim.training.batch import Batch
from reclaim.training.budget import Budget
from reclaim.training.held_out import held_out_rows
from reclaim.training.loop import Order, module_steps
from reclaim.training.memory import backward_in_pieces
from reclaim.training.resume import Stateful
from reclaim.training.trained import Part

__all__ = ["classification", "fit", "steps"]


def steps(
    model: Classifier,
    data: Data,
    budget: Budget,
    *,
    params: Iterable[nn.Parameter | Part] | None = None,
    mode: Literal["train", "eval"] = "train",
    order: Order | None = None,
    span: range | None = None,
    state: Sequence[Stateful] = (),
) -> Iterator[Batch]:
    """Train a classifier in place on the training rows of seen classes: the batches of a budget, one by one.

    The order of events is the caller's; the smallest one is `fit`. Everything else is taken care of: see
    `module_steps`, whose arguments these are. The labels `batch.y` are indices of the model's outputs. Rows of the head
    that belong to absent classes keep their weights, bit for bit and whatever the loss, unless the budget trains them
    or the head's weight is made of other parameters (a parametrization, as in weight normalisation). Between epochs it
    is measured on the validation rows of seen classes, where somebody listens (`telling`) or the best epoch is kept.

    Raises: BadInput if there is nothing to train on, the loss is no longer finite, or the state found is another run's.
    """
    if budget.spends_nothing:
        return
    rows = data.seen_only("train")
    if not len(rows):
        raise BadInput(f"the training split of {data.source} has no row of a seen class.")
    model = settled(model, data)
    yield from module_steps(
        model.module,
        replace(rows, labels=model.columns(data.classes)[rows.labels]),
        model.preprocess,
        budget,
        params=_trained(model, data, budget, params),
        mode=mode,
        order=order,
        span=span,
        state=state,
        held_out=held_out_rows(model, data, budget),
    )


def classification(batch: Batch) -> Tensor:
    """Cross-entropy over all classes, seen and absent."""
    return cross_entropy(batch.logits, batch.y)


def fit(
    model: Classifier,
    data: Data,
    budget: Budget,
    *,
    loss: Callable[[Batch], Tensor] = classification,
    params: Iterable[nn.Parameter | Part] | None = None,
    mode: Literal["train", "eval"] = "train",
) -> Classifier:
    """Train a classifier in place along the gradient of a loss, a mean over a batch; see `steps`.

    A batch that does not fit into the memory of a GPU is trained on in pieces, from then on, which is said.

    Returns: the same classifier.
    """
    rows = budget.batch_size
    for batch in steps(model, data, budget, params=params, mode=mode):
        rows = backward_in_pieces(batch, loss, rows)
        batch.step()
    return model if budget.spends_nothing else settled(model, data)


def _trained(
    model: Classifier, data: Data, budget: Budget, params: Iterable[nn.Parameter | Part] | None
) -> list[nn.Parameter | Part]:
    """What to train, of the head only the rows of seen classes if the budget keeps the others."""
    given = list(model.module.parameters() if params is None else params)
    if budget.absent_rows == "train":
        return given
    seen = torch.zeros(model.num_outputs, dtype=torch.bool)
    seen[model.columns(data.classes)[data.seen]] = True
    head = {id(parameter) for layer in model.last_layers for parameter in layer.parameters(recurse=False)}
    kept: list[nn.Parameter | Part] = []
    for one in given:
        parameter, rows = (one.parameter, one.rows.to(seen)) if isinstance(one, Part) else (one, torch.ones_like(seen))
        kept.append(Part(parameter, rows & seen) if id(parameter) in head else one)
    return kept
