"""No file beside a model, data or a snapshot is ever run, whatever it is called."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reclaim

ROOT = Path(reclaim.__file__).parent.parent
PLANTING = Path(__file__).parent.parent / "planting.py"
SNAPSHOTS = ("before-val.safetensors", "after-val.safetensors")
FIRST = [  # a factory of one's own comes first: the working directory is searched while it is imported
    "predict --model plain/own_nets:net@after --data target --split val --out own.safetensors",
    "predict --model after --data table/table.npz --split all --out npz.safetensors",
    "evaluate after-val.safetensors",
]
COMMANDS = [
    *FIRST,
    "predict --model reclaim/digits_cnn@before/model.safetensors --data digits --split test --out digits.safetensors",
    "tune wise-ft --model before --data target --epochs 1 --out tuned",
    "merge interpolation --before before --after after --out merged",
    "repair --before before --after after --data target --out repaired",
    "repair --before before-val.safetensors --after after-val.safetensors --out answers",
    *(
        f"calibrate {name} after-val.safetensors --seen-rows --out {name}.json"
        for name in ("temperature", "spline", "isotonic", "matrix", "order-preserving")
    ),
    "calibrate logit-offset after-val.safetensors --out offset.json",
    "apply offset.json after-test.safetensors --out lifted.safetensors",
    "apply offset.json --model after --out folded",
    "diagnose before-val.safetensors after-val.safetensors",
    "report before-val.safetensors after-val.safetensors --out page.html",
    "list calibrators",
]


@pytest.fixture
def place(built: Path, tmp_path: Path) -> Path:
    """The workshop's things, copied, with a network and a table of one's own."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    (tmp_path / "own_nets.py").write_text("from reclaim.models.networks import digits_cnn as net\n")
    (tmp_path / "table").mkdir()
    names = json.loads((tmp_path / "after/reclaim.json").read_text())["classes"]
    pictures = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "table/table.npz", image=pictures, label=np.arange(20) % 10, classes=names)
    return tmp_path


@pytest.fixture
def own(shop: Path, built: Path) -> Path:
    """A model directory of one's own among the workshop's things."""
    (shop / "after").unlink()
    shutil.copytree(built / "after", shop / "after")
    return shop


def planted(place: Path, commands: list[str], *flags: str) -> dict[str, Any]:
    folders = [".", "before", "after", "target", "target/val", "target/val/one", "table"]
    words = json.dumps([command.split() for command in commands])
    done = subprocess.run(
        [sys.executable, "-P", PLANTING, words, *folders, *flags],
        cwd=place, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_no_planted_module_runs_whatever_a_command_asks_for(place: Path) -> None:
    commands = [*COMMANDS]
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        commands.append("export --to onnx --model after --image-size 8 --out after.onnx")
    said = planted(place, commands)
    assert set(said["codes"].values()) == {0}, said["codes"]
    assert {"torch", "sklearn", "PIL", "statistics", "accelerate"} <= set(said["asked"])
    assert said["ran"] == []


def test_a_planted_module_would_run_where_the_folder_is_searched(place: Path) -> None:
    """So the test above can fail: some of what is asked for is nowhere, and the last folder answers."""
    assert planted(place, FIRST, "--exposed")["ran"]


def python(place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    where = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *words], cwd=place, capture_output=True, text=True, env=where)


def test_as_a_module_of_python_it_does_not_search_the_working_directory(place: Path) -> None:
    """But for what -m itself looks for there before anything of ours runs."""
    (place / "probe.py").write_text("import sys; sys.stdout.write(' '.join(sys.modules))\n")
    by_python = {name.partition(".")[0] for name in python(place, "-m", "probe").stdout.split()} | {"reclaim"}
    asked = {*planted(place, FIRST)["asked"], *sys.stdlib_module_names}
    assert len(asked - by_python) > 200 and {"torch", "numpy", "re", "pathlib", "ast"} <= asked - by_python
    for name in asked:
        (place / f"{name}.py").write_text(f"open('ran', 'a').write({name!r} + ' ')\n")
    for name in by_python:
        (place / f"{name}.py").unlink(missing_ok=True)
    done = python(place, "-m", "reclaim", "evaluate", "after-val.safetensors")
    assert done.returncode == 0, done.stderr
    assert not (place / "ran").exists(), (place / "ran").read_text()


@pytest.mark.parametrize(
    "name", ["Tensor", "nn", "pad", "relu", "CifarResNet", "_Block", "FACTORIES", "__doc__", "resnet20.__call__", ""]
)
def test_a_model_directory_names_a_network_of_the_list_and_nothing_else(own: Path, reclaim, name: str) -> None:
    record = json.loads(Path("after/reclaim.json").read_text())
    for library, prefix in (("reclaim", ""), ("plain", "reclaim.networks:"), ("plain", "reclaim.models.networks:")):
        Path("after/reclaim.json").write_text(json.dumps(record | {"library": library, "name": prefix + name}))
        done = reclaim("predict", "--model", "after", "--data", "target", "--split", "val", "--out", "o")
        assert done.code == 2 and "after" in done.err and not Path("o").exists(), done
        assert "digits_cnn, resnet20, resnet32" in done.err or "named MODULE:FUNCTION" in done.err


@pytest.mark.parametrize("library", ["os", "../evil", "evil", "__init__", "", "torchvision.models", 3, None, ["plain"]])
def test_a_library_is_one_of_those_there_are(own: Path, reclaim, library: object) -> None:
    Path("evil.py").write_text("open('ran', 'w')\n")
    record = json.loads(Path("after/reclaim.json").read_text())
    Path("after/reclaim.json").write_text(json.dumps(record | {"library": library}))
    done = reclaim("predict", "--model", "after", "--data", "target", "--split", "val", "--out", "o")
    assert done.code == 2 and "after/reclaim.json" in done.err and not Path("ran").exists(), done
