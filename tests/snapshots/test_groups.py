"""Groups of a snapshot: carried by every change of rows and by every file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.models.predict import predict
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys

NAMES = tuple(f"patient {i}" for i in range(30))


def grouped(n: int = 211, **more: object) -> Snapshot:
    groups = torch.randint(0, 30, (n,), generator=torch.Generator().manual_seed(4))
    return replace(toys.snapshot(n), groups=groups, group_names=NAMES, **more)


def test_rows_keep_their_groups() -> None:
    whole = grouped()
    for which in (torch.tensor([5, 2, 200]), torch.arange(211) % 3 == 0, slice(3, 90, 2)):
        assert torch.equal(whole.rows(which).groups, whole.groups[which])
        assert whole.rows(which).group_names == NAMES
    assert whole.units == len(whole.groups.unique()) and toys.snapshot().units == 211
    for same in (whole.unlabelled(), whole.reordered(whole.classes[::-1]), whole.through(lambda z: z + 1)):
        assert torch.equal(same.groups, whole.groups)
    assert torch.equal(whole.thinned(50).groups, whole.groups[::5])


def test_groups_must_fit() -> None:
    with pytest.raises(BadInput, match="211 rows"):
        replace(toys.snapshot(), groups=torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("shard_size", [5 << 30, 4000], ids=["one file", "shards"])
def test_files_keep_groups_and_names(tmp_path: Path, shard_size: int) -> None:
    whole = grouped()
    save_snapshot(tmp_path / "s.safetensors", whole, shard_size=shard_size)
    assert (len(list(tmp_path.iterdir())) > 1) == (shard_size == 4000)
    back = load_snapshot(tmp_path / "s.safetensors")
    assert torch.equal(back.groups, whole.groups) and back.group_names == NAMES
    assert torch.equal(back.logits[:], whole.logits) and torch.equal(back.labels, whole.labels)


def test_a_file_without_groups_says_nothing_of_them(tmp_path: Path) -> None:
    save_snapshot(tmp_path / "s.safetensors", toys.snapshot())
    assert b"group" not in (tmp_path / "s.safetensors").read_bytes()[:2000]
    assert load_snapshot(tmp_path / "s.safetensors").groups is None


def test_arrays_from_elsewhere_bring_numbers_or_names(tmp_path: Path) -> None:
    z, y, seen = toys.logits(4)
    arrays = {"logits": z.numpy(), "labels": y.numpy(), "seen": seen.numpy()}
    np.savez(tmp_path / "names.npz", **arrays, groups=np.array(["b", "a", "b", "b"]))
    back = load_snapshot(tmp_path / "names.npz")
    assert back.groups.tolist() == [1, 0, 1, 1] and back.group_names == ("a", "b")
    np.savez(
        tmp_path / "numbers.npz", **arrays, groups=np.array([2, 0, 2, 2], dtype=np.uint8), group_names=["x", "y", "z"]
    )
    back = load_snapshot(tmp_path / "numbers.npz")
    assert back.groups.tolist() == [2, 0, 2, 2] and back.group_names == ("x", "y", "z")


@pytest.mark.parametrize("on_disk", [False, True])
def test_predict_carries_the_groups_of_the_data(tmp_path: Path, on_disk: bool) -> None:
    data, model = toys.data(), toys.classifier()
    rows = replace(data.split("val"), groups=torch.arange(60) // 4, group_names=NAMES)
    data = replace(data, splits={"val": rows.rows(torch.arange(1, 60))})
    made = predict(model, data, "val", out=tmp_path / "s" if on_disk else None)
    assert torch.equal(made.groups, torch.arange(1, 60) // 4) and made.group_names == NAMES
