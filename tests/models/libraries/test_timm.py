"""timm: its training checkpoints, its preparation of images, and what it cannot be asked for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.processed import Processed
from reclaim.models.directory import load_model, save_model
from reclaim.models.pairs import paired
from tests.small_models import picture, stirred

timm = require("timm", "timm")


def made(name: str = "test_resnet", **numbers: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return stirred(timm.create_model(name, **numbers))


def test_a_training_checkpoint_of_another_number_of_classes_is_read(tmp_path: Path) -> None:
    """It holds the trainer's arguments as an `argparse.Namespace`, and an averaged second set of weights."""
    network, averaged = made(num_classes=6), made(num_classes=6).requires_grad_(False)
    averaged.fc.bias.add_(1)
    held = {
        "epoch": 3,
        "arch": "test_resnet",
        "args": argparse.Namespace(lr=0.1, model="test_resnet"),
        "state_dict": {f"module.{name}": tensor for name, tensor in network.state_dict().items()},
        "state_dict_ema": averaged.state_dict(),
    }
    torch.save(held, tmp_path / "last.pth.tar")
    spec, x = f"timm/test_resnet@{tmp_path / 'last.pth.tar'}", torch.rand(2, 3, 64, 64)
    for which, expected in (("raw", network), ("averaged", averaged)):
        assert torch.equal(load_model(spec, weights=which).module(x), expected(x))
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", load_model(spec, weights="raw"))
    assert torch.equal(timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()(x), network(x))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": made().state_dict(), "args": Path("somewhere")}, tmp_path / "last.pth")
    with pytest.raises(BadInput, match="runs no code from files"):
        load_model(f"timm/test_resnet@{tmp_path / 'last.pth'}")


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({}, Preprocess),
        ({"crop_pct": 0.9, "interpolation": "bilinear", "input_size": (3, 48, 48)}, Preprocess),
        ({"crop_mode": "squash"}, Processed),
        ({"crop_mode": "border", "crop_pct": 1.0}, Processed),
        ({"input_size": (3, 40, 56)}, Processed),
    ],
)
def test_images_are_prepared_as_timm_prepares_them(how: dict[str, object], kind: type, tmp_path: Path) -> None:
    module = made(num_classes=6, pretrained_cfg_overlay=how)
    timm.models.save_for_hf(module, str(tmp_path), safe_serialization=True)
    model = load_model(str(tmp_path))
    assert isinstance(model.preprocess, kind)
    expected = timm.data.create_transform(**timm.data.resolve_model_data_config(module), is_training=False)
    for seed in range(3):
        torch.testing.assert_close(model.preprocess(picture(seed)), expected(picture(seed)), rtol=0, atol=1e-6)


def test_another_size_of_images_is_written_in_timms_words(tmp_path: Path) -> None:
    timm.models.save_for_hf(made(num_classes=6), str(tmp_path / "in"), safe_serialization=True)
    model = load_model(str(tmp_path / "in"), image_size=73, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", model)
    (tmp_path / "out" / "reclaim.json").unlink()
    assert load_model(str(tmp_path / "out")).preprocess == model.preprocess


def test_a_pair_that_takes_the_others_way_is_written_so(tmp_path: Path) -> None:
    for name, how in (("before", {"crop_mode": "squash"}), ("after", {"crop_mode": "border"})):
        module = made(num_classes=6, pretrained_cfg_overlay=how)
        timm.models.save_for_hf(module, str(tmp_path / name), safe_serialization=True)
    before, after = (load_model(str(tmp_path / name)) for name in ("before", "after"))
    with pytest.raises(BadInput, match=r"crop_mode squash(?s:.)*crop_mode border"):
        paired(before, after)
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", paired(before, after, "before")[1])
    assert load_model(str(tmp_path / "out")).preprocess == before.preprocess


def test_a_thousand_outputs_are_taken_for_imagenets(tmp_path: Path) -> None:
    timm.models.save_for_hf(made(), str(tmp_path), safe_serialization=True)
    assert load_model(str(tmp_path)).bind(["n01440764"]).classes[0] == "n01440764"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "wizard"}, "timm cannot make .*wizard"),
        ({"architecture": "test_resnet", "num_classes": 0}, "made without a head"),
        ({"architecture": "test_resnet", "num_classes": 9}, "answers 6 classes, and config.json beside it says 9"),
        ({"something": 1}, "is no model directory"),
        ({"architecture": "test_resnet", "model_args": {"wizard": 1}}, "timm cannot make"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config: dict[str, object], message: str, tmp_path: Path) -> None:
    timm.models.save_for_hf(made(num_classes=6), str(tmp_path), safe_serialization=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=message):
        load_model(str(tmp_path))


def test_a_wrong_name_shows_those_that_are_near() -> None:
    with pytest.raises(BadInput, match=r"no timm model called 'resnet17'.*resnet18"):
        load_model("timm/resnet17")


def test_a_hub_that_is_not_asked_is_said_with_the_form_for_local_files() -> None:
    with pytest.raises(BadInput, match=r"HF_HUB_OFFLINE(?s:.)*timm/test_resnet@FOLDER"):
        load_model("timm/test_resnet")
