"""Damaged snapshots are known before their numbers are used; files of different runs never make one snapshot."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from reclaim.core.errors import BadInput
from reclaim.snapshots import writing
from reclaim.snapshots.index import index_of, read_index
from reclaim.snapshots.reading import load_snapshot, metadata
from reclaim.snapshots.sealing import UNSEALED, check_seal, seal
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys

ROWS = replace(toys.snapshot(n=60, split="val", data="toys"), features=torch.randn(60, 3))


def test_every_changed_byte_and_every_cut_of_a_snapshot_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path, random = tmp_path / "rows.safetensors", np.random.default_rng(0)
    save_snapshot(path, ROWS)
    whole = path.read_bytes()
    for at in {*range(0, 700, 3), *random.integers(len(whole), size=200).tolist()}:
        content = bytearray(whole)
        content[at] ^= random.integers(1, 256)
        path.write_bytes(content)
        try:
            back = load_snapshot(path)
        except BadInput as error:
            assert "rows.safetensors" in str(error)
            continue
        assert torch.equal(back.logits, ROWS.logits) and torch.equal(back.labels, ROWS.labels)
        assert back.classes == ROWS.classes and torch.equal(back.features, ROWS.features)
    for size in random.integers(len(whole), size=50).tolist():
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"rows\.safetensors"):
            load_snapshot(path)


def test_rows_that_change_places_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    save_snapshot(path, replace(toys.snapshot(n=90_000), labels=None))
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + (1 << 20)], content[-(1 << 20) :] = content[-(1 << 20) :], content[half : half + (1 << 20)]
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not as it was written"):
        load_snapshot(path)


def test_a_seal_is_that_of_the_whole_file_and_its_header(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    save_snapshot(path, ROWS)
    first = metadata(path)["checksum"]
    assert first != UNSEALED and len(first) == 16
    check_seal(path)
    save_snapshot(path, replace(ROWS, data="toy"))
    assert metadata(path)["checksum"] != first
    content = path.read_bytes().replace(metadata(path)["checksum"].encode(), UNSEALED.encode())
    path.write_bytes(content)
    seal(path)
    check_seal(path)


def test_a_snapshot_of_an_earlier_version_or_of_another_program_needs_no_seal(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    tensors = {"logits": ROWS.logits, "labels": ROWS.labels, "seen": ROWS.seen}
    save_file(tensors, path, {"classes": json.dumps(ROWS.classes), "split": "val"})
    assert torch.equal(load_snapshot(path).logits, ROWS.logits)
    save_file(tensors, path)
    assert torch.equal(load_snapshot(path).logits, ROWS.logits)


@pytest.mark.parametrize("key", ["classes", "group_names"])
@pytest.mark.parametrize("value", ["", "x", "3", "null", "true", "{}", "[1, 2]", '["a", null]', "[" * 9999, "9" * 5000])
def test_names_in_the_metadata_are_a_list_of_text(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "rows.safetensors"
    save_file({"logits": ROWS.logits, "labels": ROWS.labels, "seen": ROWS.seen}, path, {key: value})
    with pytest.raises(BadInput, match=rf"rows\.safetensors, {key} in its metadata"):
        load_snapshot(path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("shard_size", [1 << 30, 1000])
def test_every_type_of_logits_that_is_read_is_written(tmp_path: Path, dtype: torch.dtype, shard_size: int) -> None:
    rows = replace(ROWS, logits=ROWS.logits.to(dtype), features=None)
    save_snapshot(tmp_path / "rows.safetensors", rows, shard_size=shard_size)
    back = load_snapshot(tmp_path / "rows.safetensors")
    assert back.logits.dtype == dtype and torch.equal(back.logits[:], rows.logits)
    if shard_size > 1000:
        with safe_open(tmp_path / "rows.safetensors", "pt") as file:
            assert torch.equal(file.get_tensor("logits"), rows.logits)


def test_a_type_that_no_snapshot_has_is_refused_by_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match=r"given: torch\.float8_e4m3fn"),
        writing.snapshot_file(tmp_path / "rows", ROWS, 60, None, dtype=torch.float8_e4m3fn),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two sharded snapshots of the same rows, of two models."""
    paths = tmp_path / "one" / "s.safetensors", tmp_path / "two" / "s.safetensors"
    for path, rows in zip(paths, (ROWS, replace(ROWS, logits=-ROWS.logits)), strict=True):
        path.parent.mkdir()
        save_snapshot(path, rows, shard_size=600)
    return paths


def shards(path: Path) -> list[Path]:
    return [path.parent / shard.file for shard in read_index(index_of(path)).shards]


def changed(path: Path, **values: object) -> None:
    index = index_of(path)
    index.write_text(json.dumps(json.loads(index.read_text()) | values))


def test_a_shard_of_another_run_is_refused_under_any_name(two: tuple[Path, Path]) -> None:
    one, other = two
    assert len(shards(one)) > 4 and not {file.name for file in shards(one)} & {file.name for file in shards(other)}
    shards(one)[2].write_bytes(shards(other)[2].read_bytes())
    with pytest.raises(BadInput, match=r"s-00003-of-.* does not belong to .*: it is of another run"):
        load_snapshot(one)


def test_two_shards_that_changed_places_are_refused(two: tuple[Path, Path]) -> None:
    first, second = shards(two[0])[1:3]
    first_content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(first_content)
    with pytest.raises(BadInput, match=r"does not belong to .*: it is of another run, or of another place"):
        load_snapshot(two[0])


def test_an_index_that_contradicts_itself_or_leaves_its_folder_is_refused(two: tuple[Path, Path]) -> None:
    path, named = two[0], json.loads(index_of(two[0]).read_text())["shards"]
    for values, message in (
        ({"shards": [*named, named[0]]}, "names files more than once"),
        ({"rows": 61}, "says that there are 61 rows, and its files have 60"),
        ({"shards": named[:-1]}, "says that there are 60 rows"),
        ({"shards": named[:-1], "rows": None}, "does not belong to"),
        ({"shards": named[::-1]}, "does not belong to"),
        ({"shards": [named[0] | {"file": f"../two/{shards(two[1])[0].name}"}, *named[1:]]}, "do not lie beside it"),
        ({"shards": [named[0] | {"rows": -1}, *named[1:]]}, r"expected int >= 0, at shards\[0\].rows"),
        ({"shards": [named[0] | {"checksum": "0" * 16}, *named[1:]]}, "its checksum is another one"),
        ({"shards": []}, "length >= 1"),
        ({"run": "00000000"}, "it is of another run"),
        ({"run": 3}, "expected str, got int, at run"),
    ):
        before = index_of(path).read_text()
        changed(path, **values)
        with pytest.raises(BadInput, match=message):
            load_snapshot(path)
        index_of(path).write_text(before)
    assert torch.equal(load_snapshot(path).logits[:], ROWS.logits)


def as_version_0_1_wrote(path: Path) -> None:
    """Shards without a word on their run, under the names of then."""
    files = [path.with_name(f"s-{i:05d}-of-00003.safetensors") for i in (1, 2, 3)]
    for i, file in enumerate(files):
        part = ROWS.rows(slice(20 * i, 20 * i + 20))
        tensors = {"logits": part.logits.clone(), "labels": part.labels.clone(), "seen": part.seen}
        save_file(tensors, file, {"classes": json.dumps(part.classes), "split": "val"})
    index_of(path).write_text(json.dumps({"rows": 60, "shards": [{"file": f.name, "rows": 20} for f in files]}))


def test_shards_of_an_earlier_version_open_and_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    as_version_0_1_wrote(path)
    assert torch.equal(load_snapshot(path).logits[:], ROWS.logits)
    save_snapshot(path, ROWS)
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_snapshot_s_own_files_are_removed_when_it_is_replaced(two: tuple[Path, Path]) -> None:
    path, folder = two[0], two[0].parent
    named = json.loads(index_of(path).read_text())["shards"]
    (folder / "thesis.txt").write_text("mine")
    called_alike = folder / "s-00001-of-00002.safetensors"  # called like a shard, of another run
    called_alike.write_bytes(shards(two[1])[0].read_bytes())
    (folder / "s-00002-of-00002.safetensors").write_text("no snapshot at all")
    foreign = ["thesis.txt", called_alike.name, "s-00002-of-00002.safetensors"]
    changed(path, shards=[*named, *({"file": name, "rows": 0} for name in foreign)])
    save_snapshot(path, ROWS)
    assert sorted(file.name for file in folder.iterdir()) == sorted(["s.safetensors", *foreign])


def test_an_index_of_something_else_and_what_it_names_stay(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    index_of(path).write_text('{"weight_map": {"head": "s-00001-of-00002.safetensors"}}')
    (tmp_path / "s-00001-of-00002.safetensors").write_text("x")
    save_snapshot(path, ROWS)
    assert len(list(tmp_path.iterdir())) == 3 and torch.equal(load_snapshot(path).logits, ROWS.logits)


class Killed(BaseException):
    """As if the process ended here: nothing is tidied up."""


@pytest.mark.parametrize("sharded", [True, False])
def test_whenever_replacing_stops_one_whole_snapshot_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    """Stopped before each change of a name: what is read is the old snapshot or the new one, never rows of both."""
    new, stop = replace(ROWS, logits=-ROWS.logits), 0
    real = {name: getattr(Path, name) for name in ("replace", "unlink")}
    seen_old = seen_new = False
    while True:
        folder = tmp_path / str(stop)
        folder.mkdir()
        path = folder / "s.safetensors"
        save_snapshot(path, ROWS, shard_size=600)
        left = [stop]

        def counted(name: str, left: list[int] = left):
            def call(self: Path, *given: object, **named: object) -> object:
                if left[0] <= 0:
                    raise Killed
                left[0] -= 1
                return real[name](self, *given, **named)

            return call

        for name in real:
            monkeypatch.setattr(Path, name, counted(name))
        try:
            save_snapshot(path, new, shard_size=600 if sharded else 1 << 30)
            killed = False
        except Killed:
            killed = True
        monkeypatch.undo()
        found = load_snapshot(path).logits[:]
        assert torch.equal(found, ROWS.logits) or torch.equal(found, new.logits)
        seen_old, seen_new = seen_old or torch.equal(found, ROWS.logits), seen_new or torch.equal(found, new.logits)
        stop += 1
        if not killed:
            break
    assert seen_old and seen_new and stop > 8


def test_a_failed_write_leaves_none_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.safetensors"
    save_snapshot(path, ROWS, shard_size=600)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(place: Path, record: object) -> None:
        raise OSError(28, "No space left on device", str(place))

    monkeypatch.setattr(writing, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        save_snapshot(path, Snapshot(-ROWS.logits, ROWS.labels, ROWS.seen), shard_size=600)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
