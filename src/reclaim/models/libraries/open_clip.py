"""open_clip's networks for images and texts, as classifiers with a head made of class names."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from reclaim.core.checks import check_classes
from reclaim.core.errors import Argument, BadInput, few, unknown
from reclaim.core.extras import require
from reclaim.core.files import write_json
from reclaim.core.hub import check_reachable, from_hub
from reclaim.core.records import read_json
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.processed import Processed
from reclaim.data.inputs.protocol import Maker
from reclaim.models.checkpoint import load_weights, save_weights
from reclaim.models.classifier import Classifier, Writer
from reclaim.models.loading import shown
from reclaim.models.state_dicts import Which
from reclaim.models.zero_shot import ZeroShot

__all__ = ["open_clip"]

log = logging.getLogger(__name__)

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
HEAD, TEMPLATES = "head.safetensors", "templates.txt"  # ours, beside them
OTHERS = ("open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth")


def open_clip(
    name: str,
    checkpoint: Path | None = None,
    head: str | None = None,
    weights: Which | None = None,
    *,
    classes: Sequence[str] | None = None,
) -> Classifier:
    """A zero-shot classifier: NAME/TAG, NAME@CHECKPOINT or a directory of open_clip, and the names of the classes.

    Each class is the mean of its sentences: those of the file templates.txt in the directory, one per line with {} for
    the name, or open_clip's seven simple ones. Image features, times these directions, are the logits: a linear
    layer, with a bias that is 0 or the network's own. It is written as open_clip reads it, and the head beside that in
    head.safetensors; `encode_image(images, normalize=True) @ weight.T + bias` are the logits again.

    Args:
        classes: the names of the classes, in the order of the outputs.

    Source: open_clip.create_model, open_clip.build_zero_shot_classifier.
    """
    library = require("open_clip", extra="open-clip")
    if not classes:
        raise BadInput(
            "a network of open_clip answers features, and becomes a classifier by the names of classes.",
            Argument("classes", "name them, in order"),
        )
    labels = check_classes(tuple(classes))
    if checkpoint is not None and checkpoint.is_dir():
        towers, config = _of_directory(checkpoint, weights), read_json(checkpoint / CONFIG)
        templates = _templates(checkpoint, library)
        spec = f"local-dir:{checkpoint}"
    else:
        architecture, _, tag = name.partition("/")
        if architecture not in library.list_models():
            raise unknown("open_clip model", architecture, library.list_models())
        config = {"model_cfg": library.get_model_config(architecture)}
        towers = _of_name(architecture, tag, checkpoint, weights)
        templates, spec = tuple(library.SIMPLE_IMAGENET_TEMPLATES), architecture
    kept = None if checkpoint is None else checkpoint / HEAD
    if kept is not None and kept.is_file():
        module = _with_head(towers, load_file(kept), labels, kept)
    else:
        log.warning("the head is made of %d class names in %d sentences each.", len(labels), len(templates))
        module = _zero_shot(towers, labels, templates, spec)
    made = _prepared(towers)
    size = made.crop if isinstance(made, Preprocess) and made.crop else 224
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
    model = shown(module.eval(), made, noise, head, library="open-clip", name=name or "CLIP")
    writer = Writer(partial(_write, config, templates), frozenset(model.weights))
    return replace(model, classes=labels, writer=writer)


def _of_directory(folder: Path, weights: Which | None) -> Any:
    file = next((folder / one for one in (WEIGHTS, *OTHERS) if (folder / one).is_file()), None)
    if file is None:
        raise BadInput(f"{folder} holds no weights; open_clip's lie in {WEIGHTS}.")
    return _filled(_made(f"local-dir:{folder}", folder), file, weights)


def _of_name(architecture: str, tag: str, checkpoint: Path | None, weights: Which | None) -> Any:
    if checkpoint is not None:
        return _filled(_made(architecture, checkpoint), checkpoint, weights)
    library = require("open_clip", extra="open-clip")
    tags = library.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        raise unknown(f"weights of open_clip's {architecture}", tag, tags)
    local = f"open_clip/{architecture}@FILE, or a directory of open_clip"
    about = library.get_pretrained_cfg(architecture, tag)
    owner, _, repository = str(about.get("hf_hub", "")).removesuffix("/").partition("/")
    if repository and "/" not in repository:
        return _of_directory(from_hub(f"{owner}/{repository}", [CONFIG, WEIGHTS], "open-clip", local), weights)
    check_reachable(about.get("url") or "https://huggingface.co", f"open_clip/{architecture}/{tag}", local)
    with _tried(f"{architecture}/{tag}"):
        return library.create_model(architecture, pretrained=tag).eval()


def _made(spec: str, place: Path) -> Any:
    with _tried(place):
        create = require("open_clip", extra="open-clip").create_model
        return create(spec, load_weights=False, pretrained_text=False).eval()


@contextmanager
def _tried(what: object) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a damaged folder leads the library to
        reason = " ".join((str(error) or type(error).__name__).split())
        raise BadInput(f"open_clip cannot read {what}: {reason:.300}.") from error


def _filled(towers: Any, file: Path, which: Which | None) -> Any:
    """The towers with weights of a file."""
    own = towers.state_dict()
    theta, _ = load_weights(file, own, which)
    missing, left = [key for key in own if key not in theta], [key for key in theta if key not in own]
    wrong = [key for key in own if key in theta and theta[key].shape != own[key].shape]
    if missing or left or wrong:
        raise BadInput(
            f"the weights in {file} do not fit its config.\n  missing: {few(missing) or 'none'}\n"
            f"  unexpected: {few(left) or 'none'}\n  of another shape: {few(wrong) or 'none'}"
        )
    towers.load_state_dict(theta)
    return towers


def _templates(folder: Path, library: Any) -> tuple[Any, ...]:
    """The sentences for a class: those of the folder, or open_clip's simple ones."""
    if not (folder / TEMPLATES).is_file():
        return tuple(library.SIMPLE_IMAGENET_TEMPLATES)
    lines = tuple((folder / TEMPLATES).read_text(encoding="utf-8").split("\n"))
    found = tuple(line.strip() for line in lines if line.strip())
    if not found or any(line.count("{}") != 1 for line in found):
        raise BadInput(f"{folder / TEMPLATES} has one sentence per line, each with {{}} once, where the name stands.")
    return found


def _zero_shot(towers: Any, labels: Sequence[str], templates: Sequence[Any], spec: str) -> ZeroShot:
    library = require("open_clip", extra="open-clip")
    with _tried(f"the tokenizer of {spec}"):
        tokenizer = library.get_tokenizer(spec)
    said = [template if callable(template) else partial(str.replace, template, "{}") for template in templates]
    directions = library.build_zero_shot_classifier(towers, tokenizer, list(labels), said).T
    scale = float(towers.logit_scale.detach().exp())
    bias = 0.0 if towers.logit_bias is None else float(towers.logit_bias.detach())
    return ZeroShot(towers, scale * directions, bias)


def _with_head(towers: Any, kept: Mapping[str, torch.Tensor], labels: Sequence[str], file: Path) -> ZeroShot:
    """The towers with the head that lies beside them."""
    if set(kept) != {"weight", "bias"} or len(kept["weight"]) != len(labels):
        raise BadInput(f"{file} is no head for {len(labels)} classes: it holds `weight` [C, D] and `bias` [C].")
    module = ZeroShot(towers, kept["weight"].float())
    with torch.no_grad():
        module.head.bias.copy_(kept["bias"])
    return module


def _prepared(towers: Any) -> Maker:
    """What open_clip does with images before an evaluation."""
    library = require("open_clip", extra="open-clip")
    how = library.get_model_preprocess_cfg(towers)
    size = how["size"] if isinstance(how["size"], int) else tuple(how["size"])
    side = size if isinstance(size, int) else size[0] if len(set(size)) == 1 else None
    kind, way = how.get("interpolation", "bicubic"), how.get("resize_mode", "shortest")
    if side is not None and kind in ("bicubic", "bilinear") and way == "shortest":
        return Preprocess(3, side, side, tuple(how["mean"]), tuple(how["std"]), kind)
    says = ", ".join(f"{key} {value}" for key, value in sorted(how.items()))
    own = require("open_clip.transform", extra="open-clip")
    return Processed(
        f"open_clip: {says}", own.image_transform_v2(own.PreprocessCfg(**how), is_train=False), settings=how
    )


def _write(config: dict[str, Any], templates: Sequence[Any], folder: Path, model: Classifier) -> None:
    """Write what open_clip reads, and the head beside it."""
    module: Any = model.module
    how = require("open_clip", extra="open-clip").get_model_preprocess_cfg(module.towers)
    images = model.preprocess
    if isinstance(images, Processed):
        how = how | images.settings
    elif isinstance(images, Preprocess) and images.crop:
        how = how | {"size": images.crop, "mean": images.mean, "std": images.std, "interpolation": images.interpolation}
    write_json(folder / CONFIG, config | {"preprocess_cfg": how})
    save_weights(folder / WEIGHTS, module.towers.state_dict())
    head = {"weight": module.head.weight.detach().contiguous(), "bias": module.head.bias.detach().contiguous()}
    save_file(head, folder / HEAD)
    if all(isinstance(one, str) for one in templates):
        (folder / TEMPLATES).write_text("\n".join(templates) + "\n", encoding="utf-8")
