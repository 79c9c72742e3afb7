"""From a network or a factory to a classifier: weights from a file, and what is said of inputs and outputs by hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.checks import check_classes
from reclaim.core.errors import Argument, BadInput, few
from reclaim.core.numbers import Pixels, check_argument
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.protocol import Inputs, Maker
from reclaim.models.checkpoint import load_weights
from reclaim.models.classifier import Classifier
from reclaim.models.head import head_or_guess
from reclaim.models.samples import first_channels
from reclaim.models.state_dicts import Which, nearly
from reclaim.models.tracing import NoHead, check_head, trace_heads
from reclaim.models.union import with_rows
from reclaim.models.weights import Weights

__all__ = ["fitted", "from_factory", "head_size", "shown", "with_inputs", "wrapped"]


def from_factory(
    factory: Callable[..., nn.Module | Classifier],
    checkpoint: Path | None,
    head: str | None,
    which: Which | None = None,
    *,
    library: str,
    name: str,
) -> Classifier:
    """The classifier that a factory makes, with the weights of a checkpoint.

    A factory that takes `num_classes` is called with the checkpoint's number where that is another one; of one that
    does not, the head gets so many rows. It may answer a `Classifier` where the head or what makes the inputs must be
    said.
    """
    made = wrapped(factory(), head, library=library, name=name)
    if checkpoint is None:
        return made
    made = made.copy()  # what a factory answers again and again stays; anything else goes before the file is read
    weights, container = load_weights(checkpoint, made.weights, which)
    size = head_size(weights, made.head)
    if size not in (None, made.num_outputs) and "num_classes" in inspect.signature(factory).parameters:
        again = wrapped(factory(num_classes=size), made.head, library=library, name=name).copy()
        made = replace(again, guessed=made.guessed)
    elif size not in (None, made.num_outputs):
        shape = made.last_layer.weight.shape[1:]
        bias = None if made.last_layer.bias is None else torch.zeros(size or 0)
        fits = weights[f"{made.head}.weight"].shape[1:] == shape
        made = with_rows(made, torch.zeros(size or 0, *shape), bias) if fits else made
    return replace(fitted(made, weights, checkpoint), container=container)


def wrapped(
    network: nn.Module | Classifier,
    head: str | None = None,
    *,
    preprocess: Maker | None = None,
    library: str,
    name: str,
) -> Classifier:
    """A network as a classifier.

    Args:
        head: the dotted name of its head; traced if none is given.
        preprocess: what makes its inputs; images of the channels that its first convolution takes, if none is given.

    Raises: BadInput if it has no such layer, or no head is found.
    """
    if isinstance(network, Classifier):
        named = check_head(network.module, head or network.head)
        guessed = network.guessed and head is None
        return replace(network, head=named, library=library, name=name, recorded=True, guessed=guessed)
    make = Preprocess(channels=first_channels(network)) if preprocess is None else preprocess
    found, guessed = head_or_guess(network, make) if head is None else (check_head(network, head), False)
    recorded = preprocess is not None
    return Classifier(network, found, preprocess=make, library=library, name=name, recorded=recorded, guessed=guessed)


def shown(
    network: nn.Module,
    make: Maker,
    example: Any,
    head: str | None,
    *,
    library: str,
    name: str,
) -> Classifier:
    """A network as a classifier, with its head traced on an example of the kind that it was made for.

    Raises: BadInput if it cannot take the example, or no layer is its head.
    """
    x = make.collate([make(example), make(example)])
    found = trace_heads(network, x) if head is None else _with_twins(network, x, check_head(network, head))
    head, *twins = found
    return Classifier(network, head, preprocess=make, library=library, name=name, recorded=True, twins=tuple(twins))


def _with_twins(network: nn.Module, x: Inputs, head: str) -> tuple[str, ...]:
    """The head that is named, and its twins if the trace finds it among several."""
    try:
        found = trace_heads(network, x)
    except NoHead:
        return (head,)
    return (head, *(name for name in found if name != head)) if head in found else (head,)


def fitted(model: Classifier, weights: Weights, source: Path) -> Classifier:
    """`model`, whose network nobody else has, with weights read from `source`; BadInput if they do not fit."""
    theirs = model.weights
    missing = [name for name in theirs if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in theirs and name != f"{model.head}.bias"]
    if missing or unexpected:
        raise BadInput(
            f"the weights in {source} do not fit {model.library}/{model.name}.\n"
            f"  missing: {few(missing, 3) or 'none'}\n  unexpected: {few(unexpected, 3) or 'none'}"
            f"{nearly(missing, unexpected)}"
        )
    for name, tensor in weights.items():
        _check_kind(name, tensor, theirs.get(name), source)
        if name in theirs and tensor.shape != theirs[name].shape:
            raise BadInput(
                f"the weights in {source} do not fit {model.library}/{model.name}: {name} has shape "
                f"{list(tensor.shape)} there, {list(theirs[name].shape)} in the network."
            )
    return model.filled({name: theirs[name] for name in theirs if name not in weights} | weights)


def _check_kind(name: str, tensor: Tensor, own: Tensor | None, source: Path) -> None:
    """Raise unless an entry holds numbers of the kind that the network's own has: floating point, or whole.

    Whole numbers for weights are a quantised file without its scales, and 8 bits of floating point usually are.
    """
    kind, dtype = "", tensor.dtype
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        kind = "has no values" if tensor.is_meta else "is quantised" if tensor.is_quantized else "is sparse"
    elif own is None or own.is_floating_point():
        kind = (
            "" if dtype.is_floating_point and dtype.itemsize > 1 else "is no floating-point number of 16 bits or more"
        )
    elif dtype.is_complex != own.dtype.is_complex or (dtype == torch.bool) != (own.dtype == torch.bool):
        kind = f"is no {own.dtype}"
    elif dtype.is_floating_point and not torch.equal(tensor, tensor.round()):
        kind = f"holds fractions, and the network's is {own.dtype}"
    if kind:
        raise BadInput(
            f"the weights in {source} cannot be used: {name!r} {kind} ({dtype}).\n"
            "  Give the weights as they were before they were converted, in floating point."
        )


def head_size(weights: Weights, head: str) -> int | None:
    """How many classes the weights answer; None if they have no such head."""
    weight = weights.get(f"{head}.weight")
    return None if weight is None else len(weight)


def with_inputs(
    model: Classifier,
    image_size: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    classes: Sequence[str] | None,
    upright: bool | None = None,
) -> Classifier:
    """The model with another way of preparing images and other names of outputs; None leaves the model's own."""
    model = replace(model, recorded=model.recorded or image_size is not None or mean is not None)
    if image_size is not None:
        if image_size < 1:
            raise BadInput(f"images must have at least 1 pixel; given: {image_size}.", Argument("image_size", "give"))
        check_argument("image_size", image_size, Pixels)
        model = replace(model, preprocess=replace(model.images, resize=image_size, crop=image_size))
    if (mean is None) != (std is None):
        raise BadInput("mean and standard deviation go together.", Argument("mean", "give both"), Argument("std"))
    if mean is not None and std is not None:
        if min(std) <= 0:
            raise BadInput(f"a standard deviation must be above 0; given: {tuple(std)}.", Argument("std", "give"))
        model = replace(model, preprocess=replace(model.images, mean=tuple(mean), std=tuple(std)))
    if upright is not None:
        model = replace(model, preprocess=replace(model.images, upright=upright))
    if classes is not None:
        model = replace(model, classes=check_classes(tuple(classes), model.num_outputs))
    return model
