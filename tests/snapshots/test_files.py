"""Snapshots in files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from reclaim.core.errors import BadInput
from reclaim.snapshots.index import index_of
from reclaim.snapshots.reading import is_snapshot, load_snapshot
from reclaim.snapshots.writing import save_snapshot, snapshot_file
from tests import toys


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
    with pytest.raises(BadInput, match=r"no \.npz, or was cut off"):
        load_snapshot(tmp_path / "rows.npz")
    with pytest.raises(BadInput, match="there is no file"):
        load_snapshot(tmp_path / "nothing.npz")
    with pytest.raises(BadInput, match=r"Name it rows\.safetensors"):
        save_snapshot(tmp_path / "rows.npz", toys.snapshot())


@pytest.mark.parametrize("suffix", [".safetensors", ""])
def test_a_snapshot_is_known_by_what_is_in_the_file(tmp_path: Path, suffix: str) -> None:
    rows, path = toys.snapshot(), tmp_path / f"rows{suffix}"
    save_snapshot(path, rows)
    assert is_snapshot(path)
    np.savez(tmp_path / "rows.npz", logits=rows.logits, labels=rows.labels, seen=rows.seen)
    assert is_snapshot(tmp_path / "rows.npz")
    save_snapshot(path, rows, shard_size=1000)
    assert not path.exists() and is_snapshot(path) and is_snapshot(index_of(path))


def test_what_holds_no_logits_is_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = {"head.weight": torch.zeros(3)}
    save_file(weights, "model.safetensors")
    torch.save(weights, "model.pth")  # a zip file, as an .npz is
    np.savez("data.npz", images=np.zeros(3))
    index_of(Path("large.safetensors")).write_text('{"weight_map": {"head.weight": "large-1.safetensors"}}')
    index_of(Path("odd.safetensors")).write_text("3")
    Path("empty").touch()
    Path("garbage").write_bytes(bytes(range(256)))
    newer = bytearray(Path("data.npz").read_bytes())
    newer[newer.index(b"PK\x01\x02") + 6] = 103  # needs version 10.3 of the format
    Path("newer.npz").write_bytes(newer)
    Path("zip").write_bytes(b"\x00" * 99 + b"PK\x05\x06" + b"\x01" * 40)  # as such a file ends, and nothing before it
    for name in (
        *(path.name for path in tmp_path.iterdir()), "large.safetensors", "odd.safetensors", ".", "..", str(tmp_path),
        "missing.safetensors", "nowhere/missing", "plain/reclaim.networks:digits_cnn@model.pth",
    ):  # fmt: skip
        assert is_snapshot(Path(name)) is False, name


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(tmp_path: Path, number: float) -> None:
    rows = toys.snapshot()
    features = np.zeros((len(rows), 2), dtype=np.float32)
    features[3, 1] = number
    path = tmp_path / "rows.npz"
    np.savez(path, logits=rows.logits, labels=rows.labels, seen=rows.seen, features=features)
    with pytest.raises(BadInput, match=rf"features hold {number} in row 3, column 1"):
        load_snapshot(path)
