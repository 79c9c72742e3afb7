"""timm's image classifiers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from reclaim.core.errors import BadInput, unknown
from reclaim.core.extras import require
from reclaim.core.hub import from_hub
from reclaim.core.records import read_json
from reclaim.data.classes.imagenet import imagenet_ids
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.processed import Processed
from reclaim.data.inputs.protocol import Maker
from reclaim.models.checkpoint import Container, load_weights, save_weights
from reclaim.models.classifier import Classifier, Writer
from reclaim.models.loading import fitted, head_size, shown
from reclaim.models.state_dicts import Which

__all__ = ["timm"]

log = logging.getLogger(__name__)

FILES = ("model.safetensors", "pytorch_model.bin", "model.pth")  # the order in which timm looks for weights


def timm(
    name: str, checkpoint: Path | None = None, head: str | None = None, weights: Which | None = None
) -> Classifier:
    """A network of timm by its name, with a checkpoint of yours or pretrained; or a directory that timm wrote.

    A checkpoint is a file of weights, or one that timm's training wrote. Images are prepared as timm prepares them for
    an evaluation. Classes have the names in the directory's config; 1000 outputs are taken for ImageNet's. It is
    written as `save_for_hf` writes it, so that ``local-dir:`` reads it.

    Source: timm.create_model, timm.models.save_for_hf.
    """
    require("timm", extra="timm")
    if checkpoint is not None and checkpoint.is_dir():
        return _from_directory(checkpoint, head, weights)
    known = require("timm.models", extra="timm").list_models()
    if name.partition(".")[0] not in known:
        raise unknown("timm model", name, known)
    if checkpoint is None:
        module = _made(name)
        place = module.pretrained_cfg.get("hf_hub_id") or name
        folder = from_hub(place, ["*.json", "model.safetensors"], "timm", f"timm/{name}@FOLDER or timm/{name}@FILE")
        return replace(_from_directory(folder, head, weights), name=name)
    model = _classifier(_made(name), name, head)
    theta, container = load_weights(checkpoint, model.weights, weights)
    size = head_size(theta, model.head)
    if size not in (None, model.num_outputs):
        model = _classifier(_made(name, num_classes=size), name, head)
    return replace(fitted(model, theta, checkpoint), container=replace(container, nest=None, prefix=""))


def _from_directory(folder: Path, head: str | None, weights: Which | None) -> Classifier:
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise BadInput(f"{folder / 'config.json'} is no config of timm: it names no architecture.")
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        raise BadInput(f"{folder} holds no weights; timm's lie in {', '.join(FILES)}.")
    model = _classifier(_made(f"local-dir:{folder}"), config["architecture"], head)
    theta, container = load_weights(file, model.weights, weights)
    size = head_size(theta, model.head)
    if size not in (None, model.num_outputs):
        raise BadInput(f"{file} answers {size} classes, and config.json beside it says {model.num_outputs}.")
    model = fitted(model, theta, file)
    return replace(model, container=container, classes=_labels(config, model.num_outputs, folder) or model.classes)


def _made(name: str, **numbers: Any) -> Any:
    """A network without weights of its own."""
    library = require("timm", extra="timm")
    try:
        return library.create_model(name, pretrained=False, **numbers).eval()
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"timm cannot make {name.removeprefix('local-dir:')}: {reason:.300}") from error


def _classifier(module: Any, name: str, head: str | None) -> Classifier:
    if module.num_classes < 1:
        raise BadInput(f"timm's {name} was made without a head (num_classes is 0): it answers features, no classes.")
    make = _prepared(module)
    channels, height, width = module.pretrained_cfg["input_size"]
    noise = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    example = Image.fromarray(noise.squeeze()) if channels in (1, 3) else noise.transpose(2, 0, 1) / np.float32(255)
    model = shown(module, make, example, head, library="timm", name=name)
    namings = (imagenet_ids(),) if model.num_outputs == 1000 else ()
    return replace(model, namings=namings, writer=Writer(_write, frozenset(model.weights)), container=Container())


def _prepared(module: nn.Module) -> Maker:
    """What timm does with images before an evaluation."""
    how = require("timm.data", extra="timm").resolve_model_data_config(module)
    channels, height, width = how["input_size"]
    ordinary = how["crop_mode"] == "center" and how["interpolation"] in ("bilinear", "bicubic") and height == width
    if ordinary or channels not in (1, 3):
        return Preprocess(
            channels=channels,
            resize=math.floor(height / how["crop_pct"]),
            crop=height,
            mean=tuple(how["mean"]),
            std=tuple(how["std"]),
            interpolation=how["interpolation"],
        )
    does = require("timm.data", extra="timm").create_transform(**how, is_training=False)
    says = ", ".join(f"{key} {value}" for key, value in sorted(how.items()))
    return Processed(f"timm: {says}", does, "L" if channels == 1 else "RGB", settings=how)


def _labels(config: Mapping[str, Any], size: int, folder: Path) -> tuple[str, ...]:
    """The names of the outputs that a config has; none if it has none."""
    found = config.get("label_names") or config.get("pretrained_cfg", {}).get("label_names")
    if isinstance(found, dict):  # by number, where there are gaps
        found = [found.get(str(index)) for index in range(size)]
    if not found:
        return ()
    if len(found) != size or not all(isinstance(one, str) for one in found) or len(set(found)) != size:
        log.warning("%s: label_names do not name each of the %d outputs once; they are left aside.", folder, size)
        return ()
    return tuple(found)


def _write(folder: Path, model: Classifier) -> None:
    """Write config.json and model.safetensors, as timm reads them."""
    module: Any = model.module
    module.num_classes = model.num_outputs
    about = {"label_names": list(model.classes)} if model.classes else {}
    save = require("timm.models", extra="timm").save_for_hf
    save(module, str(folder), model_config=about, safe_serialization=True, data_config=_data_config(model))
    if model.container.dtype is not None:  # in the half precision that it came in
        save_weights(folder / "model.safetensors", model.weights, Container(dtype=model.container.dtype))


def _data_config(model: Classifier) -> dict[str, Any]:
    """How images are prepared, in timm's words; what is on record there stays as it was."""
    images = model.preprocess
    if isinstance(images, Processed):
        return dict(images.settings)
    if not isinstance(images, Preprocess) or not images.crop or images == _prepared(model.module):
        return {}
    resize = images.resize or images.crop
    return {
        "input_size": (images.channels or len(images.mean) or 3, images.crop, images.crop),
        "crop_pct": images.crop / (resize + 0.5) if resize != images.crop else 1.0,  # timm rounds the product down
        "crop_mode": "center",
        "interpolation": images.interpolation,
        **({"mean": images.mean, "std": images.std} if images.mean else {"mean": (0.0,), "std": (1.0,)}),
    }
