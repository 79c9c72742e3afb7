"""Checkpoints: handed back the way they came, and no code is run from one."""

import argparse
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reclaim.core.errors import BadInput
from reclaim.models.checkpoint import Container, load_weights, save_weights
from reclaim.models.directory import load_model
from tests import toys

THETA = toys.classifier().weights


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_handed_back_the_way_they_came(tmp_path: Path, nest: str | None, prefix: str) -> None:
    named = {prefix + name: tensor for name, tensor in THETA.items()}
    torch.save({nest: named, "epoch": 3} if nest else named, tmp_path / "came.pth")
    weights, container = load_weights(tmp_path / "came.pth")
    assert toys.same(weights, THETA) and container == Container(".pth", nest, prefix)
    save_weights(tmp_path / "back.pth", weights, container)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert toys.same(back[nest] if nest else back, named)


def test_half_precision_stays_half_precision(tmp_path: Path) -> None:
    half = {name: t.half() if t.is_floating_point() else t for name, t in THETA.items()}
    save_file(half, tmp_path / "came.safetensors")
    weights, container = load_weights(tmp_path / "came.safetensors")
    save_weights(tmp_path / "back.safetensors", toys.classifier(1).with_weights(weights).weights, container)
    assert toys.same(load_weights(tmp_path / "back.safetensors")[0], half)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(BadInput, match="runs no code from files"):
        load_weights(tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(BadInput):
        load_weights(tmp_path / "evil.pkl")
    np.save(tmp_path / "evil.npy", np.array([Evil()], dtype=object))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"weights{suffix}"
    save_weights(path, THETA, Container(suffix))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BadInput, match=r"not a whole|needs code"):
        load_weights(path)


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "other.pth")
    with pytest.raises(BadInput, match=r"holds no state dict .* it holds: epoch, lr"):
        load_weights(tmp_path / "other.pth")


@pytest.mark.parametrize("older", [False, True])
def test_a_trainers_arguments_are_left_aside_in_archives_and_in_torchs_older_files(tmp_path: Path, older: bool) -> None:
    held = {"model": THETA, "args": argparse.Namespace(lr=0.1, data="somewhere")}
    torch.save(held, tmp_path / "w.pth", _use_new_zipfile_serialization=not older)
    assert toys.same(load_weights(tmp_path / "w.pth", THETA)[0], THETA)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_network_with_weights_from_a_file_does_not_lie_in_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    save_weights(path, THETA, Container(suffix))
    model = load_model(f"plain/tests.toys:Net@{path}")
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert toys.same(model.weights, THETA)


def test_a_network_that_a_factory_answers_again_and_again_stays_as_it_is(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", THETA)
    before = toys.copied(ONE.state_dict())
    models = [load_model(f"plain/{__name__}:the_one@{tmp_path / 'w.safetensors'}") for _ in range(2)]
    assert toys.same(ONE.state_dict(), before) and models[0].module is not models[1].module
    assert toys.same(models[0].weights, THETA)


ONE = toys.Net()


def the_one() -> torch.nn.Module:
    """A factory that makes nothing."""
    return ONE
