"""Snapshots and calibrators in files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from reclaim.calibrators.logit_offset import LogitOffset
from reclaim.errors import BadInput
from reclaim.io import calibrator_record, load_calibrator, load_snapshot, save_calibrator, save_snapshot, snapshot_file
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


def test_a_file_that_holds_no_calibrator_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("[]")
    with pytest.raises(BadInput, match="no 'method'"):
        load_calibrator(path)
    path.write_text('{"method": "logit-offset"}')
    with pytest.raises(BadInput, match="not a complete 'logit-offset' calibrator"):
        load_calibrator(path)
    path.write_text('{"method": "astrology"}')
    with pytest.raises(BadInput, match="no calibrator called 'astrology'"):
        load_calibrator(path)


def test_a_calibrator_file_is_the_record_that_commands_print(tmp_path: Path) -> None:
    made = LogitOffset(1.5, (True, False), ("a", "b"), "auto", "because", {"seen": 4}, None)
    save_calibrator(tmp_path / "c.json", made)
    record = json.loads((tmp_path / "c.json").read_text())
    assert record == json.loads(json.dumps(calibrator_record(made)))
    assert record["method"] == "logit-offset" and record["guarantee"] is None
