"""Commands join by name, know whose answers fitted a calibrator, and take what people have; or say why not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reclaim.calibration.files import load_calibrator
from reclaim.models.directory import load_model
from reclaim.models.identity import identity
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from tests.cli.workshop import CLASSES, FACTORY, SEEN, snapshot_npz


@pytest.fixture
def offset(shop: Path, reclaim) -> Path:
    assert reclaim("calibrate", "logit-offset", "after-val.safetensors", "--out", "offset.json").code == 0
    return Path("offset.json")


def accuracy(reclaim, *arguments: object) -> float:
    done = reclaim("evaluate", *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)["accuracy"]["all"]


def test_a_calibrator_finds_the_columns_of_a_snapshot_by_name(offset: Path, reclaim) -> None:
    rows = load_snapshot(Path("after-test.safetensors"))
    order = np.random.default_rng(0).permutation(len(CLASSES))
    save_snapshot(Path("turned.safetensors"), rows.reordered([CLASSES[i] for i in order]))
    turned = load_snapshot(Path("turned.safetensors"))
    gamma = json.loads(offset.read_text())["offset"]
    z = turned.logits.numpy() + gamma * np.array([name not in SEEN for name in turned.classes])
    expected = float((z.argmax(axis=1) == turned.known_labels.numpy()).mean())
    assert accuracy(reclaim, "turned.safetensors", "--calibrator", offset) == pytest.approx(expected)
    assert accuracy(reclaim, "after-test.safetensors", "--calibrator", offset) == pytest.approx(expected)
    assert reclaim("apply", offset, "turned.safetensors", "--out", "made.safetensors").code == 0
    np.testing.assert_allclose(load_snapshot(Path("made.safetensors")).logits.numpy(), z, rtol=1e-5, atol=1e-5)
    chained = ("calibrate", "temperature", "turned.safetensors", "--seen-rows", "--after", offset, "--out", "both.json")
    assert reclaim(*chained).code == 0
    chain = load_calibrator(Path("both.json"))
    t = json.loads(Path("both.json").read_text())["steps"][1]["temperature"]
    np.testing.assert_allclose(turned.through(chain).logits.numpy(), z / t, rtol=1e-4, atol=1e-4)
    page = reclaim("report", "before-test.safetensors", "turned.safetensors", "--calibrator", offset, "--out", "r.html")
    assert page.code == 0 and f"{100 * expected:.1f}" in Path("r.html").read_text()


def test_another_models_calibrator_is_said_and_ones_own_is_not(offset: Path, reclaim) -> None:
    own = identity(load_model("after").weights)
    assert load_snapshot(Path("after-test.safetensors")).model_identity == own
    assert json.loads(offset.read_text())["model_identity"] == own
    for command in (
        ("evaluate", "after-test.safetensors", "--calibrator", offset),
        ("apply", offset, "after-test.safetensors", "--out", "a.safetensors"),
        ("apply", offset, "--model", "after", "--out", "a"),
    ):
        assert "another model" not in reclaim(*command).err
    for command in (
        ("evaluate", "before-test.safetensors", "--calibrator", offset),
        ("apply", offset, "before-test.safetensors", "--out", "b.safetensors"),
        ("apply", offset, "--model", "before", "--out", "b"),
    ):
        done = reclaim(*command)
        assert done.code == 0 and f"another model (weights {own})" in done.err and "another" not in done.out


def test_a_calibrator_is_not_judged_on_its_own_rows_whatever_their_file_calls_them(offset: Path, reclaim) -> None:
    rows = load_snapshot(Path("after-val.safetensors"))
    random = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    save_snapshot(Path("renamed.safetensors"), replace(rows.rows(random), split="test", data="elsewhere"))
    done = reclaim("evaluate", "renamed.safetensors", "--calibrator", offset)
    assert done.code == 2 and "are by their logits those of renamed.safetensors itself" in done.err and not done.out
    assert reclaim("evaluate", "renamed.safetensors", "--calibrator", offset, "--same-split").code == 0
    snapshot_npz(Path("plain.npz"), rows)
    done = reclaim("evaluate", "plain.npz", "--calibrator", offset)
    assert done.code == 0 and "would be flattered" in done.err
    assert "flattered" not in reclaim("evaluate", "after-test.safetensors", "--calibrator", offset).err


def test_files_that_know_no_identity_say_nothing_false(offset: Path, reclaim) -> None:
    record = json.loads(offset.read_text())
    del record["model_identity"], record["row_identities"]
    Path("old.json").write_text(json.dumps(record))
    done = reclaim("evaluate", "before-test.safetensors", "--calibrator", "old.json")
    assert done.code == 0 and not done.err


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "p.npz"),
        ("calibrate", "temperature", "p.npz", "--seen-rows"),
        ("calibrate", "logit-offset", "p.npz"),
        ("diagnose", "p.npz", "p.npz"),
        ("report", "p.npz", "p.npz", "--out", "out"),
        ("apply", "offset.json", "p.npz", "--out", "out"),
        ("repair", "--before", "p.npz", "--after", "p.npz", "--out", "out"),
    ],
    ids=lambda command: command[0],
)
def test_probabilities_are_refused_by_every_command(offset: Path, reclaim, command: tuple[str, ...]) -> None:
    rows = load_snapshot(Path("after-test.safetensors"))
    snapshot_npz(Path("p.npz"), rows, logits=rows.logits.softmax(dim=1).numpy())
    done = reclaim(*command)
    assert done.code == 2 and "these logits are probabilities" in done.err and not done.out and not Path("out").exists()


def test_their_logarithm_is_taken_where_it_is_asked_for(shop: Path, reclaim) -> None:
    rows = load_snapshot(Path("after-val.safetensors"))
    snapshot_npz(Path("p.npz"), rows, logits=rows.logits.double().softmax(dim=1).numpy())
    made = [
        json.loads(reclaim("calibrate", "temperature", *given, "--seen-rows", "--json").out)["temperature"]
        for given in (("p.npz", "--from-probabilities"), ("after-val.safetensors",))
    ]
    assert made[0] == pytest.approx(made[1], rel=1e-4)


def test_a_network_that_ends_with_a_softmax_is_refused_and_nothing_is_written(shop, reclaim, monkeypatch) -> None:
    layers = "nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1)"
    Path("soft.py").write_text(f"from torch import nn\ndef net():\n    return nn.Sequential({layers})\n")
    monkeypatch.syspath_prepend(".")
    predict = ("predict", "--model", "plain/soft:net", "--data", "digits", "--split", "test", "--out", "o.safetensors")
    done = reclaim(*predict)
    assert done.code == 2 and "these logits are probabilities" in done.err and not Path("o.safetensors").exists()


def test_every_command_that_loads_a_model_takes_the_weights_that_are_asked_for(shop: Path, reclaim) -> None:
    good, raw = load_model("after").weights, load_model("before").weights
    torch.save({"state_dict": dict(raw), "state_dict_ema": dict(good)}, "w.pth")
    Path("names.txt").write_text("\n".join(CLASSES))
    model = ("--model", f"plain/{FACTORY}@w.pth", "--classes", "names.txt")
    rows = ("--data", "target", "--split", "test", "--seen", ",".join(SEEN))
    predict = ("predict", *model, *rows, "--force", "--out", "o.safetensors")
    for flags, theta in (((), good), (("--weights", "averaged"), good), (("--weights", "raw"), raw)):
        done = reclaim(*predict, *flags)
        assert done.code == 0 and "w.pth holds raw weights" in done.err and not done.out.startswith("w.pth")
        assert load_snapshot(Path("o.safetensors")).model_identity == identity(theta)
        both = ("--before-model", f"plain/{FACTORY}@w.pth", "--after-model", "after", *flags)
        found = reclaim("diagnose", "o.safetensors", "after-test.safetensors", *both, "--json")
        assert found.code == 0 and "answers of other weights" not in found.err
