"""Logits from elsewhere: whatever the file, the numbers are those of the arrays, and names join."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reclaim.core.errors import BadInput
from reclaim.snapshots.arrays import Told
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys

NAMES = tuple("abcdefg")
ROWS = replace(toys.snapshot(), classes=NAMES)
LABELS = [NAMES[label] for label in ROWS.known_labels.tolist()]
SEEN = [name for name, seen in zip(NAMES, ROWS.seen.tolist(), strict=True) if seen]


def files(folder: Path) -> dict[str, Path]:
    """The logits of `ROWS` in every kind of file; suffixes tell nothing."""
    z = ROWS.logits.numpy()
    with (folder / "npy").open("wb") as file:
        np.save(file, z)
    torch.save(ROWS.logits, folder / "tensor")
    torch.save({"logits": ROWS.logits}, folder / "mapping")
    with (folder / "npz").open("wb") as file:
        np.savez(file, logits=z)
    lines = [",".join(map(repr, row)) for row in z.astype(float).tolist()]
    (folder / "bare").write_text("\n".join(lines))
    (folder / "headed").write_text("\n".join([",".join(NAMES), *lines]))
    (folder / "pandas").write_text("\n".join(["," + ",".join(NAMES), *(f"{i},{line}" for i, line in enumerate(lines))]))
    (folder / "lists").write_text("\n".join(json.dumps({"logits": row}) for row in z.astype(float).tolist()))
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({name: z[:, i] for i, name in enumerate(NAMES)}), folder / "columns")
    parquet.write_table(pyarrow.table({"logits": z.tolist()}), folder / "nested")
    return {path.name: path for path in folder.iterdir()}


def test_every_kind_of_file_holds_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    (tmp_path / "labels").write_text("\n".join(LABELS))
    (tmp_path / "classes").write_text("\n".join(NAMES))
    named = ("headed", "pandas", "columns")
    for name, path in files(tmp_path / "z").items():
        told = Told(tmp_path / "labels", ",".join(SEEN), classes=None if name in named else tmp_path / "classes")
        rows = load_snapshot(path, told=told)
        assert torch.equal(rows.logits.float(), ROWS.logits), name
        assert torch.equal(rows.known_labels, ROWS.known_labels) and torch.equal(rows.seen, ROWS.seen), name
        assert rows.classes == NAMES, name
        with pytest.raises(BadInput, match="does not say which classes were seen"):
            load_snapshot(path)


def test_labels_and_seen_classes_come_in_any_kind_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", ROWS.logits.numpy())
    y = ROWS.known_labels
    np.save(tmp_path / "y.npy", y.numpy().astype(np.uint16))
    torch.save(y, tmp_path / "y.pt")
    (tmp_path / "y.csv").write_text("name,label\n" + "\n".join(f"x{i},{label}" for i, label in enumerate(y.tolist())))
    (tmp_path / "y.txt").write_text("\n".join(map(str, y.tolist())))
    (tmp_path / "headed.txt").write_text("label\n" + "\n".join(map(str, y.tolist())))
    np.save(tmp_path / "mask.npy", ROWS.seen.numpy())
    np.save(tmp_path / "index.npy", np.flatnonzero(ROWS.seen.numpy()))
    indices = ",".join(map(str, np.flatnonzero(ROWS.seen.numpy())))
    for labels in ("y.npy", "y.pt", "y.csv", "y.txt", "headed.txt"):
        for seen in (str(tmp_path / "mask.npy"), str(tmp_path / "index.npy"), indices):
            rows = load_snapshot(tmp_path / "z.npy", told=Told(tmp_path / labels, seen))
            assert torch.equal(rows.known_labels, y) and torch.equal(rows.seen, ROWS.seen), (labels, seen)
    assert load_snapshot(tmp_path / "z.npy", told=Told(all_classes=True)).seen.all()


def test_names_join_where_columns_come_in_another_order(tmp_path: Path) -> None:
    order = [3, 0, 6, 1, 2, 5, 4]
    z = ROWS.logits.numpy().astype(float)[:, order]
    head = ",".join([*(NAMES[column] for column in order), "label"])
    lines = [",".join([*map(repr, row), label]) for row, label in zip(z.tolist(), LABELS, strict=True)]
    (tmp_path / "z.csv").write_text("\n".join([head, *lines]))
    rows = load_snapshot(tmp_path / "z.csv", told=Told(seen=",".join(SEEN))).reordered(NAMES)
    assert torch.equal(rows.logits.float(), ROWS.logits) and torch.equal(rows.seen, ROWS.seen)
    assert torch.equal(rows.known_labels, ROWS.known_labels)


def test_an_array_is_mapped_and_not_read_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", ROWS.logits.numpy())
    rows = load_snapshot(tmp_path / "z.npy", told=Told(all_classes=True))
    rows.logits[0, 0] = 7  # a copy of its own
    assert np.load(tmp_path / "z.npy")[0, 0] == ROWS.logits[0, 0]


def told_wrongly(path: Path, message: str, told: Told) -> None:
    with pytest.raises(BadInput, match=message):
        load_snapshot(path, told=told)


def test_what_is_told_wrongly_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", ROWS.logits.numpy())
    (tmp_path / "y").write_text("\n".join(LABELS))
    (tmp_path / "names").write_text("\n".join([*NAMES[:-1], "G"]))
    told_wrongly(tmp_path / "z.npy", "labels that are none of the 7 classes", Told(tmp_path / "y", all_classes=True))
    told_wrongly(tmp_path / "z.npy", "upper and lower case", Told(tmp_path / "y", "a", classes=tmp_path / "names"))
    told_wrongly(tmp_path / "z.npy", "seen classes that the logits do not have: elk", Told(seen="0,elk"))
    (tmp_path / "y").write_text("0\n1\n")
    told_wrongly(tmp_path / "z.npy", "but there are 211 rows", Told(tmp_path / "y", all_classes=True))
    save_snapshot(tmp_path / "rows", ROWS)
    told_wrongly(tmp_path / "rows", "says its labels itself", Told(labels=tmp_path / "y"))
    told_wrongly(tmp_path / "rows", "says its seen itself", Told(seen="a"))
    assert load_snapshot(tmp_path / "rows", told=Told(seen="a", if_missing=True)).seen.tolist() == ROWS.seen.tolist()
    with pytest.raises(BadInput, match="which classes are seen is told twice"):
        Told(seen="a", all_classes=True)
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    told_wrongly(tmp_path / "objects.npy", "pickled objects", Told(all_classes=True))
    (tmp_path / "half.npy").write_bytes((tmp_path / "z.npy").read_bytes()[:-9])
    told_wrongly(tmp_path / "half.npy", "says that it has the shape", Told(all_classes=True))
    torch.save({"weights": torch.zeros(3)}, tmp_path / "w.pt")
    told_wrongly(tmp_path / "w.pt", "holds no logits: .* it holds weights", Told(all_classes=True))
    np.save(tmp_path / "p.npy", ROWS.logits.softmax(dim=1).numpy())
    told_wrongly(tmp_path / "p.npy", "probabilities", Told(all_classes=True))


def test_a_snapshot_gets_no_name_of_another_format(tmp_path: Path) -> None:
    for suffix in (".npz", ".npy", ".pt", ".csv", ".parquet", ".json"):
        with pytest.raises(BadInput, match=r"Name it rows\.safetensors"):
            save_snapshot(tmp_path / f"rows{suffix}", toys.snapshot())


@pytest.mark.parametrize(
    ("labels", "seen", "said"),
    [
        ([1, 2, 1], [0, 1], True),
        ([1, 2, 1], [1, 2], False),  # column 0 is absent, and these are rows of seen classes
        ([0, 2, 1], [0, 1], False),
        ([2, 2, 3], [0, 1], False),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_labels_that_may_count_from_one_are_said(
    tmp_path: Path, caplog, labels, seen, said: bool, beside: bool
) -> None:
    z, path = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), tmp_path / "z.npz"
    if beside:
        (tmp_path / "y.csv").write_text("label\n" + "\n".join(map(str, labels)))
        np.savez(path, logits=z, seen=np.array(seen))
        rows = load_snapshot(path, told=Told(labels=tmp_path / "y.csv"))
    else:
        np.savez(path, logits=z, labels=np.array(labels), seen=np.array(seen))
        rows = load_snapshot(path)
    assert rows.known_labels.tolist() == labels
    line = f"the labels of {tmp_path / 'y.csv' if beside else path} begin with 1, so that no row is of column 0; if"
    assert [record.getMessage().startswith(line) for record in caplog.records] == [True] * said


def test_labels_that_only_count_from_one_are_refused_as_such(tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    for labels, from_one in (([1, 2, 3], True), ([0, 2, 3], False), ([1, 2, 4], False), ([2, 2, 3], False)):
        np.savez(tmp_path / "z.npz", logits=z, labels=np.array(labels), seen=np.array([0, 1]))
        with pytest.raises(BadInput, match="is out of range: the logits have 3 columns, so labels run from") as error:
            load_snapshot(tmp_path / "z.npz")
        assert ("\n  These count from 1: take 1 from each." in str(error.value)) == from_one


@pytest.mark.parametrize("suffix", ["npz", "npy", "safetensors"])
def test_probabilities_are_refused_in_the_name_of_their_file_once(tmp_path: Path, suffix: str) -> None:
    p = toys.snapshot().logits.softmax(dim=1)
    path = tmp_path / f"p.{suffix}"
    if suffix == "safetensors":
        save_file({"logits": p, "seen": torch.arange(7) < 3}, path)
    elif suffix == "npz":
        np.savez(path, logits=p.numpy(), seen=np.arange(3))
    else:
        np.save(path, p.numpy())
    told = Told(seen="0,1") if suffix == "npy" else Told()
    with pytest.raises(BadInput, match="these logits are probabilities") as error:
        load_snapshot(path, told=told)
    assert str(error.value).startswith(f"{path}: these") and str(error.value).count("p.") == 1
    with pytest.raises(BadInput, match="holds no probabilities") as error:
        np.savez(tmp_path / "z.npz", logits=2 * p.numpy(), seen=np.arange(3))
        load_snapshot(tmp_path / "z.npz", probabilities=True)
    assert str(error.value).startswith(f"{tmp_path / 'z.npz'}: row 0") and str(error.value).count("z.npz") == 1
