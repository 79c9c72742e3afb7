"""The head: finding it, folding a map into it, and whether the network ends with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reclaim.calibration.protocol import Calibrator
from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import moved
from reclaim.models.classifier import Classifier
from reclaim.models.forward import device_of, evaluating, logits_of

__all__ = ["ends_with_head", "find_head", "first_channels", "fold"]


def find_head(module: nn.Module) -> str:
    """The dotted name of the last linear layer or 1x1 convolution.

    Raises: BadInput if there is none.
    """
    heads = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))
    ]
    if not heads or not heads[-1]:
        raise BadInput(f"{type(module).__name__} has no linear last layer inside, so it has no head to repair.")
    return heads[-1]


def first_channels(module: nn.Module) -> int | None:
    """Channels that the first convolution takes; None without one, or if they are not those of an image."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3) else None


@torch.no_grad()
def fold(model: Classifier, calibrator: Calibrator) -> Classifier:
    """Fold an affine calibrator into the head; a copy, the given model stays as it is.

    The logits change by exactly this map if the head's outputs are the logits (`ends_with_head`). Where the network
    goes on after its head (SqueezeNet: a ReLU, then an average), the map acts before that instead.

    Raises: BadInput if the calibrator is not affine.
    """
    if not hasattr(calibrator, "affine"):
        raise BadInput(f"{type(calibrator).__name__} is not affine, so it cannot be folded into a layer.")
    affine: Affine = calibrator.affine(model.classes)
    folded = model.copy()
    layer = folded.last_layer
    scale, shift = affine.scale.to(layer.weight), affine.shift.to(layer.weight)
    bias = torch.zeros_like(shift) if layer.bias is None else layer.bias
    flat = layer.weight.flatten(1)
    layer.weight.copy_((scale[:, None] * flat if scale.ndim == 1 else scale @ flat).view_as(layer.weight))
    layer.bias = nn.Parameter((scale * bias if scale.ndim == 1 else scale @ bias) + shift)
    return folded


@torch.inference_mode()
def ends_with_head(model: Classifier, x: Inputs) -> bool:
    """Whether the logits for inputs x [B, …] are the head's own outputs."""
    caught: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        caught[:] = [output.clone()]  # what comes after may change it in place

    hook = model.last_layer.register_forward_hook(keep)
    try:
        with evaluating(model.module) as module:
            z = logits_of(module, moved(x, device_of(module)))
    finally:
        hook.remove()
    return caught[0].shape == z.shape and torch.equal(caught[0], z)
