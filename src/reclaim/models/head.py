"""The head: finding it, folding a map into it, and whether the network ends with it."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Tensor, nn

from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput, few
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.protocol import Inputs, Maker
from reclaim.data.loader import made, moved
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.placement import device_of
from reclaim.models.samples import sample_inputs
from reclaim.models.tracing import NoHead, linear_layers, trace_head, trace_heads

__all__ = [
    "ends_with_head",
    "find_head",
    "first_row",
    "fold",
    "folds_exactly",
    "goes_on",
    "head_or_guess",
    "settled",
    "traced",
]

log = logging.getLogger(__name__)

TRIES = 3  # inputs that a network takes without showing a head


def find_head(module: nn.Module, preprocess: Maker = Preprocess()) -> str:
    """The dotted name of the head, as `head_or_guess` finds it; NoHead if the network runs and none is found."""
    shown, refusal = _made_up(module, preprocess)
    if shown is None and refusal is not None:
        raise refusal
    return shown or _guess(module, refusal)


def head_or_guess(module: nn.Module, preprocess: Maker = Preprocess()) -> tuple[str, bool]:
    """The dotted name of the head, and whether it is a guess.

    It is traced on an input that is made up of what `preprocess` and the first layer say of its shape. If none of these
    shows it (the network takes none, or has no weights yet that tell), the last layer registered is the guess, which
    `settled` replaces once there are data; it is said.

    Raises: BadInput if the network has no layer that may be a head.
    """
    shown, refusal = _made_up(module, preprocess)
    return (_guess(module, refusal), True) if shown is None else (shown, False)


def _guess(module: nn.Module, refusal: NoHead | None) -> str:
    """The last layer that may be a head; where there are others it is said, and why it was not found."""
    layers = list(linear_layers(module))
    if len(layers) > 1:
        log.warning(
            "%s %s. It is taken to be %s, the last of: %s; data will show it, or the argument `head` names it.",
            type(module).__name__,
            "takes none of the inputs that were made up to find its head"
            if refusal is None
            else "shows no head on inputs that were made up",
            layers[-1],
            few(reversed(layers), 8),
        )
    return layers[-1]


def _made_up(module: nn.Module, preprocess: Maker) -> tuple[str | None, NoHead | None]:
    """The head that inputs made up show; where none does, the first refusal of a network that runs."""
    if not linear_layers(module):
        raise BadInput(f"{type(module).__name__} has no linear last layer inside, so it has no head to repair.")
    refusals: list[NoHead] = []
    for x in sample_inputs(module, preprocess):
        try:
            return trace_head(module, x), None
        except NoHead as error:
            refusals.append(error)
            if len(refusals) == TRIES:
                break
        except Exception:  # whatever a network says of inputs it was not made for
            continue
    return None, refusals[0] if refusals else None


def traced(model: Classifier, data: Data) -> Classifier:
    """The classifier with its head traced on the first row of a seen class, where it was only guessed.

    Raises: BadInput if the row cannot be read, or no layer is the head.
    """
    rows = next((rows for name in data.splits if len(rows := data.seen_only(name))), None) if model.guessed else None
    if rows is None:
        return model
    head, *twins = trace_heads(model.module, first_row(model, rows))
    return replace(model, head=head, twins=tuple(twins), guessed=False)


def first_row(model: Classifier, rows: Split) -> Inputs:
    """Inputs of the first of the rows, twice: with one row, a network that squeezes its answer would answer no rows."""
    x = made(rows, 0, model.preprocess)
    return model.preprocess.collate([x, x])


def settled(model: Classifier, data: Data) -> Classifier:
    """The classifier over the data's classes (`bind`), with its head found (`traced`)."""
    return traced(model, data).bind(data.classes)


@torch.no_grad()
def fold(model: Classifier, affine: Affine) -> Classifier:
    """Fold an affine map of the logits into the head; a copy, the given model stays as it is.

    The logits change by exactly this map if the head's outputs are the logits, or their mean over several heads is
    (`folds_exactly`). Where the network goes on after its head (SqueezeNet: a ReLU, then an average), the map acts
    before that instead.
    """
    folded = model.copy()
    for layer in folded.last_layers:
        scale, shift = affine.scale.to(layer.weight), affine.shift.to(layer.weight)
        bias = torch.zeros_like(shift) if layer.bias is None else layer.bias
        flat = layer.weight.flatten(1)
        layer.weight.copy_((scale[:, None] * flat if scale.ndim == 1 else scale @ flat).view_as(layer.weight))
        layer.bias = nn.Parameter((scale * bias if scale.ndim == 1 else scale @ bias) + shift)
    return folded


@torch.no_grad()
def folds_exactly(model: Classifier, x: Inputs) -> bool:
    """Whether a map that is folded into the head is the same map of the logits, for inputs x [B, …].

    It is where the logits are the head's outputs, also those of a convolution at a single place, or the mean of several
    heads'.
    """
    if model.twins:
        return True
    output, z = _head_and_logits(model, x)
    return output.numel() == z.numel() and torch.equal(output.flatten(1), z)


@torch.no_grad()
def ends_with_head(model: Classifier, x: Inputs) -> bool:
    """Whether the logits for inputs x [B, …] are the head's own outputs."""
    output, z = _head_and_logits(model, x)
    return output.shape == z.shape and torch.equal(output, z)


def _head_and_logits(model: Classifier, x: Inputs) -> tuple[Tensor, Tensor]:
    """What the head answers to inputs x [B, …], and the logits."""
    caught: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        caught[:] = [output.clone()]  # what comes after may change it in place

    hook = model.last_layer.register_forward_hook(keep)
    try:
        with evaluating(model.module) as module:
            z = logits_of(module, moved(x, device_of(module)))
    finally:
        hook.remove()
    return caught[0], z


def goes_on(model: Classifier) -> bool:
    """Whether the network goes on after its head, on an input that is made up; False where it takes none of these."""
    for x in sample_inputs(model.module, model.preprocess):
        try:
            return not folds_exactly(model, x)
        except Exception:  # whatever a network says of inputs it was not made for
            continue
    return False
