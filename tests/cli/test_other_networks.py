"""Networks that take mappings, answer records, or have several heads, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from reclaim.models.checkpoint import save_weights
from reclaim.models.directory import load_model
from reclaim.snapshots.reading import load_snapshot
from tests import toys

KINDS = {"towers": "plain/tests.toys:towers", "heads": "plain/tests.toys:Heads"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tables of rows of three numbers, and first weights of both networks."""
    root = Path(__file__).parents[2]
    monkeypatch.syspath_prepend(root)
    monkeypatch.chdir(tmp_path)
    for name, data in (("source", toys.data(200)), ("target", toys.data(400, 1, move=0.5))):
        parts = {split: rows for split, rows in data.splits.items() if name == "target" or split == "val"}
        if name == "source":
            parts = {"train": parts["val"]}
        np.savez(
            f"{name}.npz",
            x=np.stack([rows.read(i) for rows in parts.values() for i in range(len(rows))]),
            label=np.concatenate([rows.labels.numpy() for rows in parts.values()]),
            split=np.concatenate([[split] * len(rows) for split, rows in parts.items()]),
            classes=np.array(toys.CLASSES),
        )
    torch.manual_seed(0)
    save_weights(tmp_path / "towers.safetensors", toys.towers().weights)
    save_weights(tmp_path / "heads.safetensors", toys.Heads().state_dict())
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_from_tuning_to_the_repaired_model(kind: str, place: Path, reclaim) -> None:
    budget = ("--epochs", "6", "--learning-rate", "0.05", "--batch-size", "16")
    first, recipe = f"{KINDS[kind]}@{kind}.safetensors", "lp-ft" if kind == "heads" else "fine-tune"
    steps = [
        ("tune", "fine-tune", "--model", first, "--data", "source.npz", "--out", "before", *budget),
        ("tune", recipe, "--model", f"{KINDS[kind]}@before", "--data", "target.npz", "--out", "after", *budget),
        ("repair", "--before", f"{KINDS[kind]}@before", "--after", f"{KINDS[kind]}@after", "--data", "target.npz",
         "--out", "repaired", "--json"),
        ("predict", "--model", f"{KINDS[kind]}@repaired", "--data", "target.npz", "--split", "test", "--out", "r"),
        ("predict", "--model", f"{KINDS[kind]}@after", "--data", "target.npz", "--split", "test", "--out", "a"),
    ]  # fmt: skip
    for step in steps:
        done = reclaim(*step)
        assert done.code == 0, done.err
    record = json.loads(Path("repaired/run.json").read_text())
    accuracies = {name: record[name]["accuracy"]["all"] for name in ("after", "repaired")}
    assert accuracies["repaired"] > accuracies["after"]
    rows = load_snapshot(Path("r"))
    assert float((rows.logits.argmax(1) == rows.labels).double().mean()) == pytest.approx(accuracies["repaired"])
    about = json.loads(Path("repaired/reclaim.json").read_text())
    assert about["head"] == "head" and (about["preprocess"] is None) == (kind == "towers")


def test_a_head_can_be_named_and_a_wrong_name_lists_the_layers(place: Path, reclaim) -> None:
    model = "plain/tests.toys:Heads@heads.safetensors"
    predict = ("predict", "--model", model, "--data", "target.npz", "--split", "test")
    done = reclaim(*predict, "--out", "named", "--head", "first")
    assert done.code == 2 and "answers 11" in done.err
    done = reclaim(*predict, "--out", "named", "--head", "heed")
    assert done.code == 2 and "there are: first, head, auxiliary, projection.0, projection.2" in done.err
    assert reclaim(*predict, "--out", "named", "--head", "head").code == 0
    assert load_snapshot(place / "named").features.shape[1] == toys.Heads().head.in_features


def test_flags_of_images_are_refused_where_inputs_are_none(place: Path, reclaim) -> None:
    done = reclaim("predict", "--model", "plain/tests.toys:towers@towers.safetensors", "--data", "target.npz",
                   "--split", "test", "--out", "r", "--image-size", "8")  # fmt: skip
    assert done.code == 2 and "not made of images, but by InTwo" in done.err


def test_merged_statistics_are_said_or_measured_again(place: Path, reclaim) -> None:
    budget = ("--epochs", "2", "--learning-rate", "0.05", "--batch-size", "16", "--quiet")
    first = f"{KINDS['towers']}@towers.safetensors"
    done = reclaim("tune", "fine-tune", "--model", first, "--data", "target.npz", "--out", "after", *budget)
    assert done.code == 0, done.err
    words = ("merge", "interpolation", "--before", first, "--after", f"{KINDS['towers']}@after")
    plain = reclaim(*words, "--out", "plain")
    measured = reclaim(*words, "--out", "measured", "--data", "target.npz")
    assert (plain.code, measured.code) == (0, 0), plain.err + measured.err
    note = "running statistics were merged too; measure them again with --data"
    assert note in plain.err and note not in measured.err
    made = [load_model(f"{KINDS['towers']}@{name}/model.safetensors").weights for name in ("plain", "measured")]
    differ = {name for name in made[0] if not torch.equal(made[0][name], made[1][name])}
    assert differ == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
