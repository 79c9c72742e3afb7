"""Export: a model and its calibrator in one file that other programs run."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from reclaim.calibration.files import load_calibrator
from reclaim.core.extras import require
from reclaim.snapshots.reading import load_snapshot
from tests.cli.workshop import CLASSES

runtime = require("onnxruntime", extra="onnx")


def opened(path: str) -> tuple[Any, dict[str, Any]]:
    """A session, and what the file says of itself."""
    session = runtime.InferenceSession(path)
    about = session.get_modelmeta().custom_metadata_map
    return session, {name: json.loads(about[name]) for name in ("classes", "preprocess", "calibrator") if name in about}


def test_a_model_with_its_calibrator_answers_what_reclaim_answers(shop: Path, reclaim) -> None:
    assert reclaim("calibrate", "beta", "after-val.safetensors", "--seen-rows", "--out", "c.json").code == 0
    done = reclaim("export", "--model", "after", "--calibrator", "c.json", "--image-size", 8, "--to", "onnx",
                   "--out", "after.onnx", "--json")  # fmt: skip
    assert done.code == 0 and not done.err, done.err
    assert done.json["difference"] < 1e-4 and done.json["format"] == "onnx"
    assert json.loads(Path("after.onnx.run.json").read_text())["difference"] == done.json["difference"]

    session, about = opened("after.onnx")
    assert [(part.name, part.shape[1:]) for part in session.get_inputs()] == [("images", [1, 8, 8])]
    assert [part.name for part in session.get_outputs()] == ["logits", "probabilities"]
    assert about["classes"] == list(CLASSES) and about["preprocess"]["crop"] == 8
    assert about["calibrator"]["method"] == "beta"

    files = [p for name in CLASSES for p in sorted(Path("target/test", name).iterdir())]
    images = np.stack([np.array(Image.open(p), dtype=np.float32)[None] / 255 for p in files])
    logits, probabilities = map(torch.from_numpy, session.run(None, {"images": images}))
    expected = load_calibrator(Path("c.json"))(load_snapshot(Path("after-test.safetensors")).logits)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(probabilities, logits.softmax(dim=1))


def test_a_calibrator_alone_takes_logits(shop: Path, reclaim) -> None:
    assert reclaim("calibrate", "logit-offset", "after-val.safetensors", "--out", "first.json").code == 0
    chain = ("--after", "first.json", "--seen-rows", "--out", "c.json")
    assert reclaim("calibrate", "spline", "after-val.safetensors", *chain).code == 0
    done = reclaim("export", "--calibrator", "c.json", "--to", "onnx", "--out", "c.onnx")
    assert done.code == 0 and "answers as torch does" in " ".join(done.out.split()), done.err
    session, about = opened("c.onnx")
    z = load_snapshot(Path("after-test.safetensors")).logits
    logits, _ = session.run(None, {"uncalibrated": z.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), load_calibrator(Path("c.json"))(z), rtol=1e-5, atol=1e-5)
    assert about["classes"] == list(CLASSES) and about["calibrator"]["method"] == "chain"


def test_wrong_calls_say_what_to_do_and_write_nothing(shop: Path, reclaim, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(message: str, *arguments: object) -> None:
        done = reclaim("export", *arguments)
        assert done.code == 2 and message in done.err and not done.out, done
        assert sorted(shop.glob("*.onnx*")) == kept

    kept: list[Path] = []
    common = ("--to", "onnx", "--out", "x.onnx")
    refused("say what to export", *common)
    refused("--to is one of onnx; given: tensorrt", "--model", "after", "--to", "tensorrt", "--out", "x.onnx")
    refused("--image-size PIXELS", "--model", "after", *common)
    refused("there is no file no.json", "--calibrator", "no.json", *common)
    found = importlib.util.find_spec
    with monkeypatch.context() as without:
        without.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
        refused("pip install 'reclaim[onnx]'", "--model", "after", *common)
    Path("x.onnx").write_text("mine")
    kept = [shop / "x.onnx"]
    refused("x.onnx exists already", "--model", "after", "--image-size", 8, *common)
    assert Path("x.onnx").read_text() == "mine"
