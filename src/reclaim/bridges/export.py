"""Models and calibrators as files for serving."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

import reclaim
from reclaim.bridges.modules import Served, as_module
from reclaim.bridges.onnx import save_onnx
from reclaim.calibration.files import calibrator_record
from reclaim.calibration.protocol import Calibrator, as_affine
from reclaim.core.errors import Argument, BadInput
from reclaim.core.joining import say_if_of_another
from reclaim.models.classifier import Classifier
from reclaim.models.identity import identity

__all__ = ["export_onnx"]


def export_onnx(path: Path, model: Classifier | None = None, calibrator: Calibrator | None = None) -> float:
    """Write a model, a calibrator, or a model with its calibrator behind it as one ONNX file.

    A model takes `images` [N, channels, H, W] as its preprocessing makes them, a calibrator alone `uncalibrated` logits
    [N, C]; both answer `logits` and `probabilities` [N, C], for any N. The file's metadata hold `classes`, `preprocess`
    and `calibrator` as JSON.

    Returns: the largest difference between what the file and torch answer to random rows, as a share of a row's
        largest number, or of 1 where that is larger.

    Raises: BadInput if there is nothing to write, the extra `onnx` is missing, the size of the images is unknown, the
        two do not fit, or the file answers otherwise than torch.
    """
    random = torch.Generator().manual_seed(0)
    classes = () if calibrator is None else calibrator.fitted.classes
    about = {} if calibrator is None else {"calibrator": calibrator_record(calibrator)}
    if model is not None:
        if classes and not model.classes:
            model = model.bind(classes)
        if calibrator is not None:
            say_if_of_another(calibrator.fitted, identity(model.weights))
        classes = model.classes or next(iter(model.namings), ())
        about["preprocess"] = asdict(model.images)
        module = Served(model.copy().module.cpu(), None if calibrator is None else as_module(calibrator, classes))
        given, rows = "images", torch.randn(16, *_size(model), generator=random)
    elif calibrator is not None:
        module = Served(as_module(calibrator))
        given, rows = "uncalibrated", 5 * torch.randn(64, len(calibrator.fitted.seen), generator=random)
    else:
        raise BadInput(
            "say what to export: a model, a calibrator, or both.",
            Argument("model", "give"),
            Argument("calibrator"),
        )
    metadata = {name: json.dumps(value, ensure_ascii=False) for name, value in {"classes": classes, **about}.items()}
    return save_onnx(
        path,
        module,
        rows,
        (given, "logits", "probabilities"),
        {"reclaim": reclaim.__version__, **metadata},
        agreeing=1.0 if model is None or calibrator is None or as_affine(calibrator, classes) is not None else 0.75,
    )


def _size(model: Classifier) -> tuple[int, int, int]:
    """Channels, height and width of the images."""
    side = model.images.crop
    if side is None:
        raise BadInput(
            f"the size of the images that {model.name!r} takes is unknown.", Argument("image_size", "say it")
        )
    return model.images.channels or 3, side, side
