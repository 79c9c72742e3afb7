"""Model directories and the names of models.

A model is named ``LIBRARY/NAME``, optionally ``@CHECKPOINT``, or is a directory that Reclaim wrote. No code is taken
from a model file: weights are safetensors or loaded with ``weights_only``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reclaim.core.checks import check_classes
from reclaim.core.errors import BadInput, few
from reclaim.core.files import read_json, write_json
from reclaim.core.registry import find, names
from reclaim.data.inputs.image import Preprocess
from reclaim.models.checkpoint import save_weights
from reclaim.models.classifier import Classifier
from reclaim.models.loading import with_inputs
from reclaim.models.state_dicts import Which

__all__ = ["load_model", "save_model"]

ABOUT = "reclaim.json"
OURS = ("reclaim.networks:", "reclaim.models.networks:")  # the only code that a model directory may name


def load_model(
    spec: str,
    head: str | None = None,
    *,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    weights: Which | None = None,
) -> Classifier:
    """Load the model that `spec` names. What is None stays as the model's file or library says.

    Args:
        head: the dotted name of its head, where the one that is on record or found is not right.
        image_size: scale images to this shorter side, in pixels, and cut out the square in the centre.
        mean, std: subtracted and divided by per channel, after scaling to [0, 1].
        classes: the names of the outputs, in order.
        weights: "raw" or "averaged", of a checkpoint that holds both; by default the averaged ones, which is said.

    Raises: BadInput if it does not exist, its file is broken, the weights do not fit, there is no such layer, or a
        number makes no sense.
    """
    return with_inputs(_load(spec, head, weights), image_size, mean, std, classes)


def _load(spec: str, head: str | None, weights: Which | None) -> Classifier:
    if Path(spec).is_dir():
        return _load_directory(Path(spec), head, weights)
    library, _, rest = spec.partition("/")
    name, _, checkpoint = rest.partition("@")
    if library not in names("models") or not name:
        raise BadInput(
            f"no model {spec!r}: it is neither a directory nor LIBRARY/NAME[@CHECKPOINT].\n"
            f"  Libraries: {', '.join(names('models'))}. For a weights file say what it belongs to, for example "
            "torchvision/resnet50@weights.pth."
        )
    if checkpoint and Path(checkpoint).is_dir():
        return _from_directory(library, name, Path(checkpoint), head, weights)
    return find("models", library)(name, Path(checkpoint) if checkpoint else None, head, weights)


def save_model(folder: Path, model: Classifier) -> None:
    """Write weights and ``reclaim.json`` into a folder that exists."""
    save_weights(folder / f"model{model.container.suffix}", model.weights, model.container)
    about = {
        "library": model.library,
        "name": model.name,
        "head": None if model.guessed else model.head,
        "classes": list(model.classes),
        "seen": None if model.seen is None else list(model.seen),
        "preprocess": asdict(model.preprocess) if isinstance(model.preprocess, Preprocess) else None,
    }
    write_json(folder / ABOUT, about)


def _load_directory(folder: Path, head: str | None, weights: Which | None) -> Classifier:
    about = _about(folder)
    library, name = about["library"], about["name"]
    if library == "plain" and not name.startswith(OURS):
        raise BadInput(
            f"{folder} was made by the factory {name!r}. Reclaim runs no code that a file names; name it yourself:\n"
            f"  plain/{name}@{folder}"
        )
    return _from_directory(library, name, folder, head, weights)


def _weights_file(folder: Path) -> Path:
    for suffix in (".safetensors", ".pth"):
        if (path := folder / f"model{suffix}").is_file():
            return path
    raise BadInput(f"{folder} is no model directory: it holds neither model.safetensors nor model.pth.")


def _about(folder: Path) -> dict[str, Any]:
    about = read_json(folder / ABOUT)
    absent = [key for key in ("library", "name", "classes", "preprocess") if key not in about]
    if absent:
        raise BadInput(f"{folder / ABOUT} lacks {few(absent)}; `reclaim tune` and `reclaim repair` write whole ones.")
    return about


def _from_directory(library: str, name: str, folder: Path, head: str | None, weights: Which | None) -> Classifier:
    about, file = _about(folder), _weights_file(folder)
    model: Classifier = find("models", library)(name, file, head or about.get("head"), weights)
    images: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in (about["preprocess"] or {}).items()
    }
    return replace(
        model,
        classes=check_classes(about["classes"], model.num_outputs if about["classes"] else None),
        seen=None if about.get("seen") is None else tuple(about["seen"]),
        preprocess=Preprocess(**images) if images else model.preprocess,  # what is no image's, the library knows
        recorded=bool(images) or model.recorded,
    )
