"""Files: whole or not there, and nothing read from one can run code."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from reclaim.calibrators.logit_offset import LogitOffset
from reclaim.errors import BadInput
from reclaim.io import (
    Container,
    atomic_directory,
    atomic_file,
    load_calibrator,
    load_snapshot,
    load_weights,
    read_json,
    save_snapshot,
    save_weights,
    snapshot_file,
    write_json,
)
from tests import toys

THETA = toys.classifier().weights


# --- snapshots


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_snapshot_comes_back_as_it_was_and_any_safetensors_reader_opens_it(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    z, y, seen = toys.logits()
    rows = toys.Snapshot(z.to(dtype), y, seen, torch.randn(211, 3).to(dtype), None, tuple("αbcdefg"), "val", "m", "d")
    save_snapshot(tmp_path / "rows.safetensors", rows)
    back = load_snapshot(tmp_path / "rows.safetensors")
    for name in ("logits", "labels", "seen", "features"):
        assert torch.equal(getattr(back, name), getattr(rows, name))
    assert (back.classes, back.split, back.model, back.data) == (rows.classes, "val", "m", "d")
    with safe_open(tmp_path / "rows.safetensors", "np") as file:
        assert np.array_equal(file.get_tensor("logits"), rows.logits.numpy())


def test_an_unlabelled_snapshot_has_no_labels(tmp_path: Path) -> None:
    save_snapshot(tmp_path / "rows.safetensors", toys.snapshot().unlabelled())
    assert load_snapshot(tmp_path / "rows.safetensors").labels is None


def test_blocks_written_in_any_order_make_the_same_file(tmp_path: Path) -> None:
    rows = toys.snapshot()
    save_snapshot(tmp_path / "whole", rows)
    with snapshot_file(tmp_path / "parts", rows, 211, None) as write:
        for first in (200, 0, 100):
            part = rows.rows(torch.arange(first, min(first + 100, 211)))
            write(first, part.logits, part.labels, None)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


@pytest.mark.parametrize("as_indices", [False, True])
def test_an_npz_from_elsewhere_is_a_snapshot(tmp_path: Path, as_indices: bool) -> None:
    z, y, seen = toys.logits()
    np.savez(tmp_path / "rows.npz", logits=z, labels=y, seen=seen.nonzero().squeeze(1) if as_indices else seen)
    back = load_snapshot(tmp_path / "rows.npz")
    assert torch.equal(back.logits, z) and torch.equal(back.labels, y) and torch.equal(back.seen, seen)


def test_broken_snapshots_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    save_snapshot(path, toys.snapshot())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        load_snapshot(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(BadInput, match="has no 'logits'"):
        load_snapshot(path)
    np.savez(tmp_path / "rows.npz", logits=np.array([object()]), allow_pickle=True)
    with pytest.raises(BadInput, match="pickled objects"):
        load_snapshot(tmp_path / "rows.npz")
    (tmp_path / "rows.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(BadInput, match=r"not a readable \.npz"):
        load_snapshot(tmp_path / "rows.npz")
    with pytest.raises(BadInput, match="there is no file"):
        load_snapshot(tmp_path / "nothing.npz")


# --- weights


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


# --- records


def test_broken_records_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("{")
    with pytest.raises(BadInput, match="not valid JSON"):
        read_json(path)
    path.write_text("[]")
    with pytest.raises(BadInput, match="no 'method'"):
        load_calibrator(path)
    path.write_text('{"method": "logit-offset"}')
    with pytest.raises(BadInput, match="not a complete 'logit-offset' calibrator"):
        load_calibrator(path)
    path.write_text('{"method": "astrology"}')
    with pytest.raises(BadInput, match="no calibrator called 'astrology'"):
        load_calibrator(path)


def test_a_record_never_holds_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


# --- whole or not there


def test_a_failure_in_the_middle_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("new, but not whole")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failure_in_the_middle_leaves_the_old_folder_and_no_litter(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "out", force=True) as temporary:
        (temporary / "new").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "old"]
    with atomic_directory(tmp_path / "out", force=True) as temporary:
        (temporary / "new").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "new"]


def test_what_exists_is_not_replaced_without_force(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="exists already"), atomic_directory(tmp_path / "out"):
        raise AssertionError("no work is done")


def in_a_process(code: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE, text=True)


WRITE = """
import resource, signal, sys, time, torch
from pathlib import Path
from reclaim.io import *
from reclaim.snapshot import Snapshot
rows = Snapshot(torch.zeros(4000, 50), torch.zeros(4000, dtype=torch.int64), torch.arange(50) < 25)
"""


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_snapshot_whole(tmp_path: Path) -> None:
    save_snapshot(tmp_path / "rows.safetensors", toys.snapshot())
    old = (tmp_path / "rows.safetensors").read_bytes()
    code = WRITE + (
        "with snapshot_file(Path('rows.safetensors'), rows, 4000, None) as write:\n"
        "    write(0, rows.logits[:2000], rows.labels[:2000], None)\n"
        "    Path('halfway').touch()\n"
        "    time.sleep(60)\n"
    )
    process = in_a_process(code, tmp_path)
    for _ in range(600):
        if (tmp_path / "halfway").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    assert (tmp_path / "rows.safetensors").read_bytes() == old
    load_snapshot(tmp_path / "rows.safetensors")


@pytest.mark.parametrize(
    "write",
    [
        "save_snapshot(Path('out'), rows)",
        "save_weights(Path('out'), {'w': rows.logits}, Container('.safetensors'))",
        "save_weights(Path('out'), {'w': rows.logits}, Container('.pth'))",
        "write_json(Path('out'), list(range(200000)))",
    ],
)
def test_a_full_disk_leaves_the_old_file_whole_and_is_an_error_of_the_system(tmp_path: Path, write: str) -> None:
    """A limit on the size of files stands in for the end of the disk."""
    (tmp_path / "out").write_text("old")
    code = WRITE + (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        f"try:\n    {write}\nexcept OSError as error:\n    sys.exit(7)\n"
    )
    process = in_a_process(code, tmp_path)
    error = process.communicate()[1]
    assert process.returncode == 7, error
    assert (tmp_path / "out").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_calibrator_file_is_the_record_that_commands_print(tmp_path: Path) -> None:
    from reclaim.io import calibrator_record, save_calibrator

    made = LogitOffset(1.5, (True, False), ("a", "b"), "auto", "because", {"seen": 4}, None)
    save_calibrator(tmp_path / "c.json", made)
    record = json.loads((tmp_path / "c.json").read_text())
    assert record == json.loads(json.dumps(calibrator_record(made)))
    assert record["method"] == "logit-offset" and record["guarantee"] is None
