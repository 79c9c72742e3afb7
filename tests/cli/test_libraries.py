"""`reclaim repair` of two directories that a library wrote: one command, no other file, and the library reads it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reclaim.core.extras import require
from reclaim.core.files import write_json
from reclaim.models.directory import load_model
from reclaim.models.forward import logits_of
from reclaim.models.transformers_inputs import quiet
from reclaim.snapshots.reading import load_snapshot
from tests.conftest import Answer
from tests.small_models import CASES, CLASSES, Case

SEEN = CLASSES[:4]
KINDS = [case for case in CASES if case.architecture in ("test_resnet", "ViTForImageClassification")]


def picture(label: int, random: np.random.Generator) -> Image.Image:
    """Noise around a colour and a place that the class has for itself."""
    pixels = random.integers(0, 120, (36, 40, 3))
    pixels[5 * label : 5 * label + 5, :, label % 3] += 120
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, classes, count in (("train", SEEN, 6), ("val", SEEN, 8), ("test", CLASSES, 6)):
        for name in classes:
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(count):
                picture(CLASSES.index(name), random).save(place / f"{i}.png")
    return folder


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.library)
def test_two_directories_are_repaired_by_one_command_and_load_with_the_library_alone(
    case: Case, pictures: Path, tmp_path: Path, reclaim: Callable[..., Answer]
) -> None:
    before, after, out = (tmp_path / name for name in ("before", "after", "out"))
    case.write(before)
    budget = ("--epochs", "1", "--learning-rate", "0.002", "--batch-size", "8", "--quiet")
    done = reclaim("tune", "fine-tune", "--model", before, "--data", pictures, "--out", after, *budget)
    assert done.code == 0, done.err
    for ours in ("reclaim.json", "run.json"):
        (after / ours).unlink()
    done = reclaim("repair", "--before", before, "--after", after, "--data", pictures, "--out", out, "--json")
    assert done.code == 0, done.err
    assert {path.name for path in after.iterdir()} <= {path.name for path in out.iterdir()}
    done = reclaim(
        "predict", "--model", out, "--data", pictures, "--split", "test", "--out", tmp_path / "s.safetensors"
    )
    assert done.code == 0, done.err
    said = load_snapshot(tmp_path / "s.safetensors")
    record = json.loads((out / "run.json").read_text())
    right = float((said.logits.argmax(1) == said.known_labels).double().mean())
    assert right == pytest.approx(record["repaired"]["accuracy"]["all"])
    assert record["offset"] != 0
    model = load_model(str(out))
    files = [pictures / "test" / name / "0.png" for name in CLASSES]
    x = model.inputs(*(Image.open(file).convert("RGB") for file in files))
    with torch.no_grad():
        alone = logits_of(case.read(out), x)
    order = [6 * sorted(CLASSES).index(name) for name in CLASSES]
    torch.testing.assert_close(alone[:, model.columns(said.classes)], said.logits[order].float(), rtol=1e-4, atol=1e-4)


def with_a_head_of_its_own(library: str, before: Path, folder: Path) -> None:
    """The same network with a fresh head for the first classes alone, made and written by its library."""
    torch.manual_seed(1)
    if library == "timm":
        timm = require("timm", "timm")
        made = timm.create_model(f"local-dir:{before}", pretrained=True, num_classes=len(SEEN))
        timm.models.save_for_hf(made, str(folder), model_config={"label_names": list(SEEN)}, safe_serialization=True)
        return
    labels = {"id2label": dict(enumerate(SEEN)), "label2id": {name: i for i, name in enumerate(SEEN)}}
    kind = require("transformers", "transformers").AutoModelForImageClassification
    with quiet():
        made = kind.from_pretrained(before, num_labels=len(SEEN), ignore_mismatched_sizes=True, **labels)
        made.save_pretrained(folder)
    shutil.copy(before / "preprocessor_config.json", folder)


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.library)
def test_a_fresh_head_for_some_of_the_classes_is_joined_and_loads_with_the_library_alone(
    case: Case, pictures: Path, tmp_path: Path, reclaim: Callable[..., Answer]
) -> None:
    before, fresh, after, out = (tmp_path / name for name in ("before", "fresh", "after", "out"))
    case.write(before)
    with_a_head_of_its_own(case.library, before, fresh)
    seen = tmp_path / "seen"
    for split in ("train", "val"):
        shutil.copytree(pictures / split, seen / split)
    budget = ("--epochs", "2", "--learning-rate", "0.002", "--batch-size", "8", "--quiet")
    done = reclaim("tune", "fine-tune", "--model", fresh, "--data", seen, "--out", after, *budget)
    assert done.code == 0, done.err
    assert load_model(str(after)).classes == SEEN
    done = reclaim("repair", "--before", before, "--after", after, "--data", pictures, "--out", out, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["heads"]["absent"] == len(CLASSES) - len(SEEN) and record["after"]["accuracy"]["absent"] == 0
    assert "for it answers other classes" in (out / "report.html").read_text()
    model = load_model(str(out))
    assert set(model.classes) == set(CLASSES)
    x = model.inputs(*(Image.open(pictures / "test" / name / "0.png").convert("RGB") for name in CLASSES))
    with torch.no_grad():
        torch.testing.assert_close(logits_of(case.read(out), x), logits_of(model.module.eval(), x))


def test_two_directories_that_prepare_images_in_two_ways_show_both(
    pictures: Path, tmp_path: Path, reclaim: Callable[..., Answer]
) -> None:
    case = KINDS[1]
    case.write(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    file = tmp_path / "after" / "preprocessor_config.json"
    write_json(file, json.loads(file.read_text()) | {"image_mean": [0.1, 0.2, 0.3]})
    said = ("repair", "--before", tmp_path / "before", "--after", tmp_path / "after", "--data", pictures)
    done = reclaim(*said, "--out", tmp_path / "out")
    assert done.code == 2 and not done.out and not (tmp_path / "out").exists()
    assert "ViTImageProcessor" in done.err and "0.3]" in done.err and "--prepare after" in done.err
    assert reclaim(*said, "--prepare", "before", "--out", tmp_path / "out", "--quiet").code == 0
    kept = (tmp_path / "out" / "preprocessor_config.json").read_bytes()
    assert kept == (tmp_path / "before" / "preprocessor_config.json").read_bytes()
