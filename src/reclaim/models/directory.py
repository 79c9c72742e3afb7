"""Model directories and the names of models.

A model is named ``LIBRARY/NAME``, optionally ``@CHECKPOINT``, or is a directory that Reclaim, timm, transformers or
open_clip wrote. No code is taken from a model file: weights are safetensors or loaded with ``weights_only``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from reclaim.core.checks import check_classes
from reclaim.core.errors import BadInput, few, within
from reclaim.core.files import write_json
from reclaim.core.records import read_json, typed
from reclaim.core.registry import describe, find, names
from reclaim.data.inputs.image import Preprocess
from reclaim.models.adapter_files import save_adapter
from reclaim.models.checkpoint import save_weights
from reclaim.models.classifier import Classifier
from reclaim.models.loading import with_inputs
from reclaim.models.recognised import library_of, recognised
from reclaim.models.state_dicts import Which

__all__ = ["check_takes_offset", "load_model", "save_model"]

ABOUT = "reclaim.json"
OURS = ("reclaim.networks:", "reclaim.models.networks:")  # the only code that a model directory may name


@dataclass(frozen=True)
class _About:
    """What a model directory's record says.

    Attributes:
        library, name: as in the name of a model.
        classes: of the outputs; empty if they have no names.
        preprocess: None where the inputs are no images.
        head: None where it was guessed.
        seen: the classes that the fine-tuning had; None if it is not known.
    """

    library: str
    name: str
    classes: tuple[str, ...]
    preprocess: Preprocess | None
    head: str | None = None
    seen: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        strangers = sorted(set(self.seen or ()) - set(self.classes))
        if self.classes and strangers:
            raise BadInput(f"seen names classes that the model has not: {few(strangers)}.")
        if (images := self.preprocess) is not None:
            sizes = {"resize": images.resize, "crop": images.crop}
            if wrong := [f"{key} {size}" for key, size in sizes.items() if size is not None and size < 1]:
                raise BadInput(f"preprocess has sizes of images below 1 pixel: {few(wrong)}.")
            if images.channels not in (None, 1, 3, 4):
                raise BadInput(
                    f"preprocess has {images.channels} channels; images have 1 (grey), 3 (colour) or 4 (transparent)."
                )


def load_model(
    spec: str,
    head: str | None = None,
    *,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    upright: bool | None = None,
    weights: Which | None = None,
) -> Classifier:
    """Load the model that `spec` names. What is None stays as the model's file or library says.

    Args:
        head: the dotted name of its head, where the one that is on record or found is not right.
        image_size: scale images to this shorter side, in pixels, and cut out the square in the centre.
        mean, std: subtracted and divided by per channel, after scaling to [0, 1].
        classes: the names of the outputs, in order.
        upright: whether images are turned as their orientation tags say.
        weights: "raw" or "averaged", of a checkpoint that holds both; by default the averaged ones, which is said.

    Raises: BadInput if it does not exist, its file is broken, the weights do not fit, there is no such layer, or a
        number makes no sense.
    """
    said = _Said(head, weights, None if classes is None else tuple(classes))
    return with_inputs(_load(spec, said), image_size, mean, std, classes, upright)


@dataclass(frozen=True)
class _Said:
    """What is said of a model, for its library."""

    head: str | None
    weights: Which | None
    classes: tuple[str, ...] | None

    def made(self, library: str, name: str, place: Path | None) -> Classifier:
        """The model as its library makes it; class names are for those that make a head of them."""
        own = {"classes": self.classes} if "classes" in describe("models", library).numbers else {}
        model: Classifier = find("models", library)(name, place, self.head, self.weights, **own)
        return model


def _load(spec: str, said: _Said) -> Classifier:
    if Path(spec).is_dir():
        return _load_directory(Path(spec), said)
    library, _, rest = spec.partition("/")
    library = library.replace("_", "-")
    name, _, checkpoint = rest.partition("@")
    if library not in names("models") or not name:
        raise BadInput(
            f"no model {spec!r}: it is neither a directory nor LIBRARY/NAME[@CHECKPOINT].\n"
            f"  Libraries: {', '.join(names('models'))}. For a weights file say what it belongs to, for example "
            "torchvision/resnet50@weights.pth."
        )
    if checkpoint and (Path(checkpoint) / ABOUT).is_file():
        return _from_directory(library, name, Path(checkpoint), said)
    return said.made(library, name, Path(checkpoint) if checkpoint else None)


def save_model(folder: Path, model: Classifier) -> None:
    """Write a model as its library reads it, and ``reclaim.json`` beside that, into a folder that exists.

    Of a base with an adapter the adapter alone is written.
    """
    if model.adapter is not None:
        save_adapter(folder, model)
        model = replace(model, library="peft", name="")
    elif model.writer is None:
        save_weights(folder / f"model{model.container.suffix}", model.weights, model.container)
    else:
        if strangers := sorted(set(model.weights) - model.writer.names):
            raise BadInput(f"{model.library} would not read weights that {model.name} has not: {few(strangers)}.")
        model.writer.write(folder, model)
    about = {
        "library": model.library,
        "name": model.name,
        "head": None if model.guessed else model.head,
        "classes": list(model.classes),
        "seen": None if model.seen is None else list(model.seen),
        "preprocess": asdict(model.preprocess) if isinstance(model.preprocess, Preprocess) else None,
    }
    write_json(folder / ABOUT, about)


def check_takes_offset(model: Classifier) -> None:
    """Raise if an offset could be folded into the head, but the model's own library would not read it.

    A head without a bias gets one; where the library makes the network without, it leaves the bias out in silence.
    """
    if model.writer is not None and f"{model.head}.bias" not in model.writer.names:
        raise BadInput(
            f"the head {model.head!r} of {model.library}/{model.name} has no bias, and {model.library} would not read "
            "one: an offset cannot be written into it.\n  Repair the two models' answers instead: `reclaim predict`, "
            "then `reclaim repair` of the snapshots."
        )


def _load_directory(folder: Path, said: _Said) -> Classifier:
    if not (folder / ABOUT).is_file():
        return said.made(library_of(folder), "", folder)
    about = _about(folder)
    if about.library == "plain" and not about.name.startswith(OURS):
        raise BadInput(
            f"{folder} was made by the factory {about.name!r}. Reclaim runs no code that a file names; name it "
            f"yourself:\n  plain/{about.name}@{folder}"
        )
    return _from_directory(about.library, about.name, folder, said)


def _weights_file(folder: Path) -> Path:
    for suffix in (".safetensors", ".pth"):
        if (path := folder / f"model{suffix}").is_file():
            return path
    raise BadInput(f"{folder} is no model directory: it holds neither model.safetensors nor model.pth.")


def _about(folder: Path) -> _About:
    record = read_json(folder / ABOUT)
    needed = ("library", "name", "classes", "preprocess")
    if isinstance(record, dict) and (absent := [key for key in needed if key not in record]):
        raise BadInput(f"{folder / ABOUT} lacks {few(absent)}; `reclaim tune` and `reclaim repair` write whole ones.")
    with within(folder / ABOUT):
        about: _About = typed(record, _About, folder / ABOUT)
        if foreign := sorted(set(record["preprocess"] or ()) - {field.name for field in fields(Preprocess)}):
            raise BadInput(f"preprocess has what this version does not know: {few(foreign)}.")
    return about


def _from_directory(library: str, name: str, folder: Path, said: _Said) -> Classifier:
    about = _about(folder)
    file = folder if recognised(folder) == library else _weights_file(folder)
    with within(folder / ABOUT if said.head is None else folder):
        own = replace(said, head=said.head or about.head, classes=said.classes or about.classes or None)
        model = own.made(library, name, file)
    with within(folder / ABOUT):
        return replace(
            model,
            classes=check_classes(about.classes, model.num_outputs if about.classes else None),
            seen=about.seen,
            preprocess=about.preprocess or model.preprocess,  # what is no image's, the library knows
            recorded=about.preprocess is not None or model.recorded,
        )
