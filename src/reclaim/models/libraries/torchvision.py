"""torchvision's classification networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reclaim.core.errors import BadInput, unknown
from reclaim.core.extras import require
from reclaim.core.hub import check_reachable
from reclaim.data.classes.imagenet import imagenet_ids
from reclaim.data.inputs.image import Preprocess
from reclaim.models.checkpoint import Container, load_weights
from reclaim.models.classifier import Classifier
from reclaim.models.loading import fitted, head_size, wrapped
from reclaim.models.state_dicts import Which

__all__ = ["torchvision"]

OTHERS = {
    "detection": "a detector",
    "segmentation": "a model that labels each pixel",
    "video": "a classifier of videos",
    "optical_flow": "a model of motion",
    "quantization": "a quantised network, whose weights are whole numbers and cannot be mixed",
}


def torchvision(
    name: str, checkpoint: Path | None = None, head: str | None = None, weights: Which | None = None
) -> Classifier:
    """A network of torchvision by its name, with a checkpoint of yours or with its own pretrained weights.

    A network with 1000 outputs is taken for ImageNet's: its classes answer to WordNet ids (n01440764) and to
    torchvision's words (tench).

    Source: torchvision.models.
    """
    zoo = require("torchvision.models", extra="torchvision")
    known = zoo.list_models(module=zoo)
    if name not in known:
        raise _no_classifier(zoo, name) or unknown("torchvision model", name, known)
    default = zoo.get_model_weights(name).DEFAULT
    preset = _preset(default.transforms())
    module = zoo.get_model(name, weights=None)
    model = wrapped(module, head, preprocess=preset, library="torchvision", name=name)
    if checkpoint is None:
        if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(default.url).name).is_file():
            check_reachable(default.url, f"torchvision/{name}", f"torchvision/{name}@FILE", hub=False)
        theta = torch.hub.load_state_dict_from_url(default.url, weights_only=True, check_hash=True)
        container = Container(".pth")
    else:
        theta, container = load_weights(checkpoint, model.weights, weights)
        size = head_size(theta, model.head)
        if size not in (None, model.num_outputs):
            model = replace(model, module=zoo.get_model(name, weights=None, num_classes=size))
    if model.num_outputs == 1000:
        model = replace(model, namings=(imagenet_ids(), _unique(default.meta["categories"])))
    return replace(fitted(model, theta, checkpoint or Path(default.url)), container=container)


def _no_classifier(zoo: Any, name: str) -> BadInput | None:
    """What a model of torchvision is that is no classifier of images; None if there is none of that name."""
    if name not in zoo.list_models():
        return None
    room = zoo.get_model_builder(name).__module__.removeprefix(f"{zoo.__name__}.").partition(".")[0]
    return BadInput(
        f"torchvision's {name} is {OTHERS.get(room, 'no classifier of images')}; Reclaim repairs classifiers of images."
    )


def _preset(preset: Any) -> Preprocess:
    """Our record of torchvision's evaluation preset."""
    return Preprocess(
        channels=3,
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )


def _unique(words: list[str]) -> tuple[str, ...]:
    """Words that name one class each; ImageNet has two cranes and two maillots, told apart by their position."""
    return tuple(word if words.count(word) == 1 else f"{word} ({index})" for index, word in enumerate(words))
