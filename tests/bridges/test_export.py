"""Export from Python: what goes together, and that the given model stays as it is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.bridges.export import export_onnx
from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.calibrators.spline import Spline
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Preprocess
from reclaim.snapshots.snapshot import Snapshot
from tests import toys


def spline(classes: tuple[str, ...]) -> Spline:
    z, y, _ = toys.logits(c=len(classes), sunk=0.0)
    return Spline.fit(Snapshot(z, y, torch.ones(len(classes)) > 0, classes=classes))


def test_the_given_model_stays_as_it_is(tmp_path: Path) -> None:
    model = replace(toys.classifier(module=toys.GoesOn()), preprocess=Preprocess(channels=1, crop=6))
    model.module.train()
    before = {name: part.clone() for name, part in model.weights.items()}
    chain = Chain((LogitOffset(1.0, Fitted(tuple(toys.SEEN.tolist()), toys.CLASSES)), spline(toys.CLASSES)))
    assert export_onnx(tmp_path / "x.onnx", model, chain) < 1e-4
    assert model.module.training and toys.same(before, model.weights)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    model = replace(toys.classifier(module=toys.GoesOn()), preprocess=Preprocess(channels=1, crop=6))
    unnamed = replace(model, classes=())
    with pytest.raises(BadInput, match="the model's 5 are others"):
        export_onnx(tmp_path / "x.onnx", model, spline(tuple("abcde")))
    with pytest.raises(BadInput, match=r"6 classes .* but the model .* answers 5"):
        export_onnx(tmp_path / "x.onnx", unnamed, spline(tuple("abcdef")))
    with pytest.raises(BadInput, match="is for 6 classes; the logits have the shape"):
        export_onnx(tmp_path / "x.onnx", unnamed, Spline.fit(*toys.logits(c=6, sunk=0.0)[:2]))
    with pytest.raises(BadInput, match="say what to export"):
        export_onnx(tmp_path / "x.onnx")
    with pytest.raises(BadInput, match=r"unknown\.\n  Say it: image_size=\."):
        export_onnx(tmp_path / "x.onnx", replace(model, preprocess=Preprocess()))
    assert not list(tmp_path.iterdir()) and torch.is_grad_enabled()
