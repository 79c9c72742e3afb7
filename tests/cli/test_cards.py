"""Directories that other libraries wrote: one command repairs a pair, and what it writes is such a directory again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from reclaim.models.directory import load_model
from reclaim.models.forward import logits_of
from tests.small_models import CASES, CLASSES, Case

SEEN = ("ant", "cat", "dog")
PAIRS = [
    next(case for case in CASES if case.architecture == name)
    for name in ("test_resnet", "deit_tiny_distilled_patch16_224", "ViTForImageClassification")
]


def pictures(folder: Path, each: int = 10) -> Path:
    """Noise on grey, brighter from class to class."""
    random = np.random.default_rng(0)
    for level, name in enumerate(CLASSES):
        for split, count in (("train", each // 2 if name in SEEN else 0), ("val", each), ("test", each)):
            for i in range(count):
                (folder / split / name).mkdir(parents=True, exist_ok=True)
                pixels = 30 * level + random.integers(0, 40, (36, 33, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{i}.png")
    return folder


def fine_tuned(before: Path, after: Path) -> None:
    """The same directory with other weights, the rows of absent classes sunk."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(before, after)
    theta, random = load_file(after / "model.safetensors"), torch.Generator().manual_seed(1)
    for name, tensor in theta.items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            theta[name] = tensor + 0.1 * tensor.std() * torch.randn(tensor.shape, generator=random)
        if tensor.shape == (7,) and name.endswith("bias"):
            theta[name] = tensor - 5 * torch.tensor([name not in SEEN for name in CLASSES])
    save_file(theta, after / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.architecture)
def test_a_pair_of_directories_is_repaired_by_one_command(
    case: Case, tmp_path: Path, reclaim: Callable[..., object]
) -> None:
    case.write(tmp_path / "before")
    fine_tuned(tmp_path / "before", tmp_path / "after")
    data, out = pictures(tmp_path / "data"), tmp_path / "out"
    pair = ["--before", tmp_path / "before", "--after", tmp_path / "after"]
    done = reclaim("repair", *pair, "--data", data, "--out", out, "--json")
    assert done.code == 0, done.err
    card, run = ModelCard.load(out / "README.md"), json.loads((out / "run.json").read_text())
    found = {one.metric_name: one.metric_value for one in card.data.eval_results}
    for metric, key in (("all classes", "all"), ("classes that it had not", "absent")):
        said = next(value for name, value in found.items() if name.endswith(metric))
        assert said == pytest.approx(run["repaired"]["accuracy"][key], abs=1e-6)
    assert str(tmp_path) not in (out / "README.md").read_text()
    ours, alone = load_model(str(out)), case.read(out)
    assert ours.seen == SEEN and ours.classes == CLASSES
    with torch.no_grad():
        x = ours.inputs(case.example(0), case.example(1))
        torch.testing.assert_close(logits_of(alone, x), logits_of(ours.module.eval(), x), rtol=1e-6, atol=1e-6)
    theirs = {path.name for path in (tmp_path / "before").iterdir()}
    assert theirs | {"reclaim.json", "README.md", "report.html", "calibrator.json", "run.json"} == {
        path.name for path in out.iterdir()
    }


def test_every_command_that_writes_a_model_writes_its_card(tmp_path: Path, reclaim: Callable[..., object]) -> None:
    case = PAIRS[0]
    case.write(tmp_path / "before")
    fine_tuned(tmp_path / "before", tmp_path / "after")
    data, before, after = pictures(tmp_path / "data", each=4), tmp_path / "before", tmp_path / "after"
    runs = {
        "merged": ("merge", "interpolation", "--before", before, "--after", after, "--alpha", 0.25),
        "tuned": ("tune", "fine-tune", "--model", before, "--data", data, "--epochs", 1),
    }
    for name, arguments in runs.items():
        done = reclaim(*arguments, "--out", tmp_path / name)
        assert done.code == 0, done.err
        case.read(tmp_path / name)
    assert "interpolation: alpha 0.25" in (tmp_path / "merged" / "README.md").read_text()
    assert "fine-tune: epochs 1, learning rate" in (tmp_path / "tuned" / "README.md").read_text()
