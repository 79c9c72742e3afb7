"""open_clip: class names make the head, sentences of the directory are heeded, and what is missing is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.data.inputs.processed import Processed
from reclaim.models.directory import load_model, save_model
from tests.small_models import CASES, CLASSES, picture

CLIP = next(case for case in CASES if case.library == "open-clip")
library = require("open_clip", "open-clip")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CLIP.write(tmp_path / "clip")
    return tmp_path / "clip"


def test_without_class_names_there_is_no_classifier(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"becomes a classifier by the names of classes(?s:.)*classes="):
        load_model(str(folder))


def test_images_are_prepared_as_open_clip_prepares_them(folder: Path) -> None:
    expected = library.create_model_and_transforms(f"local-dir:{folder}")[2]
    model = load_model(str(folder), classes=CLASSES)
    for seed in range(3):
        torch.testing.assert_close(model.preprocess(picture(seed)), expected(picture(seed)), rtol=0, atol=1e-6)


def test_images_that_open_clip_squashes_go_through_its_own_function(folder: Path) -> None:
    file = folder / "open_clip_config.json"
    file.write_text(file.read_text().replace("shortest", "squash"))
    model = load_model(str(folder), classes=CLASSES)
    expected = library.create_model_and_transforms(f"local-dir:{folder}")[2]
    assert isinstance(model.preprocess, Processed)
    assert torch.equal(model.preprocess(picture(0)), expected(picture(0)))


def test_sentences_of_the_directory_make_the_head_and_come_back(folder: Path, tmp_path: Path) -> None:
    plain = load_model(str(folder), classes=CLASSES)
    (folder / "templates.txt").write_text("a drawing of a {} and {{}}\n")
    with pytest.raises(BadInput, match="one sentence per line"):
        load_model(str(folder), classes=CLASSES)
    (folder / "templates.txt").write_text("a drawing of a {}.\n\nno photo of a {}\n")
    model = load_model(str(folder), classes=CLASSES)
    towers = library.create_model(f"local-dir:{folder}").eval()
    said = ["a drawing of a {}.", "no photo of a {}"]
    words = library.get_tokenizer(f"local-dir:{folder}")
    expected = library.build_zero_shot_classifier(towers, words, CLASSES, said).T * towers.logit_scale.exp()
    torch.testing.assert_close(model.last_layer.weight, expected)
    assert not torch.allclose(model.last_layer.weight, plain.last_layer.weight)
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", model)
    assert (tmp_path / "out" / "templates.txt").read_text().split("\n")[:2] == said


def test_a_head_beside_the_weights_is_taken_and_must_fit(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    model = load_model(str(folder), classes=CLASSES)
    with torch.no_grad():
        model.last_layer.bias[2] = 7
    save_model(tmp_path / "out", replace(model, seen=CLASSES[:2]))
    back = load_model(str(tmp_path / "out"))
    assert back.last_layer.bias[2].item() == 7 and back.classes == CLASSES and back.seen == CLASSES[:2]
    head = load_file(tmp_path / "out" / "head.safetensors")
    save_file({name: tensor[:5] for name, tensor in head.items()}, tmp_path / "out" / "head.safetensors")
    with pytest.raises(BadInput, match="is no head for 7 classes"):
        load_model(str(tmp_path / "out"))


def test_weights_that_are_missing_are_named(folder: Path) -> None:
    theta = load_file(folder / "open_clip_model.safetensors")
    save_file({name: t for name, t in theta.items() if name != "visual.proj"}, folder / "open_clip_model.safetensors")
    with pytest.raises(BadInput, match=r"missing: visual\.proj"):
        load_model(str(folder), classes=CLASSES)


def test_names_and_tags_that_are_not_there_are_refused() -> None:
    for spec, message in (
        ("open_clip/ViT-B-33/openai", "no open_clip model called 'ViT-B-33'"),
        ("open_clip/ViT-B-32/wizard", "called 'wizard'"),
        ("open_clip/ViT-B-32/openai", r"HF_HUB_OFFLINE(?s:.)*open_clip/ViT-B-32@FILE"),
    ):
        with pytest.raises(BadInput, match=message):
            load_model(spec, classes=CLASSES)
