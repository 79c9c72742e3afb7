"""Snapshots in several files."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.index import index_of
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.shards import Shards
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import limited_memory, records, toys

STREAMING = (
    "evaluate", "reliability", "auto", "average-logit-gap", "larger-of-two", "margin-mixture", "own-class-left-out",
    "pseudo-absent", "rate-matching", "retention-budget", "histogram", "scaling-binning",
    "temperature", "bias-corrected-temperature", "vector", "matrix", "dirichlet", "beta", "ensemble-temperature",
    "parametrised-temperature", "order-preserving", "spline", "constrained", "isotonic",
)  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Snapshot, Snapshot]:
    """The same rows in memory and in many files."""
    rows = replace(toys.snapshot(split="val", data="toys"), features=torch.randn(211, 3))
    save_snapshot(tmp_path / "rows.safetensors", rows, shard_size=1000)
    return rows, load_snapshot(tmp_path / "rows.safetensors")


def test_many_files_are_the_same_snapshot(pair: tuple[Snapshot, Snapshot], tmp_path: Path) -> None:
    rows, back = pair
    assert isinstance(back.logits, Shards) and len(list(tmp_path.glob("rows-*-of-*.safetensors"))) > 5
    assert not (tmp_path / "rows.safetensors").exists()
    for name in ("logits", "labels", "seen", "features"):
        assert torch.equal(getattr(back, name), getattr(rows, name))
    assert (back.classes, back.split, back.data) == (rows.classes, "val", "toys")
    again = load_snapshot(index_of(tmp_path / "rows.safetensors"))
    assert torch.equal(again.logits, rows.logits)


@pytest.mark.parametrize(
    "index",
    [slice(None), slice(3, 100), slice(20, 20), slice(0, 211, 7), slice(5, 200, 40), slice(-9, None),
     torch.tensor([210, 0, 7, 7, -1]), torch.arange(211) % 3 == 0, torch.tensor([], dtype=torch.int64)],
    ids=str,
)  # fmt: skip
def test_rows_are_those_of_the_whole(pair: tuple[Snapshot, Snapshot], index: slice | torch.Tensor) -> None:
    rows, back = pair
    assert torch.equal(back.logits[index], rows.logits[index])
    picked = torch.arange(210, -1, -2)
    some = back.logits.rows(picked).then(lambda z: 2 * z)
    index = index[picked] if isinstance(index, torch.Tensor) and index.dtype == torch.bool else index
    if isinstance(index, slice):
        assert torch.equal(some[index], 2 * rows.logits[picked][index])
    assert torch.equal(some.whole(), 2 * rows.logits[picked])


def test_whatever_else_a_tensor_can_do_reads_the_whole(pair: tuple[Snapshot, Snapshot]) -> None:
    rows, back = pair
    z, same = back.logits, rows.logits
    assert torch.equal(z.max(dim=1).values, same.max(dim=1).values) and torch.equal(z[:, back.seen], same[:, rows.seen])
    assert torch.equal(z * 2 + 1, same * 2 + 1) and torch.equal(z[5], same[5])
    assert z.new_zeros(2).shape == (2,) and z.dtype == same.dtype and z.shape == same.shape


def test_an_evaluation_and_picked_rows_are_the_same(pair: tuple[Snapshot, Snapshot]) -> None:
    rows, back = pair
    assert evaluate(back) == evaluate(rows)
    assert evaluate(back.seen_rows()) == evaluate(rows.seen_rows())
    assert isinstance(back.seen_rows().logits, Shards)
    half = lambda z: z / 2  # noqa: E731
    assert evaluate(back.through(half)) == evaluate(rows.through(half))


def test_classes_are_reordered_when_rows_are_read(pair: tuple[Snapshot, Snapshot]) -> None:
    rows, back = pair
    order = tuple(reversed(rows.classes))
    made, expected = back.reordered(order), rows.reordered(order)
    assert isinstance(made.logits, Shards) and torch.equal(made.logits.whole(), expected.logits)
    assert evaluate(made) == evaluate(expected)


def test_a_snapshot_that_replaces_another_leaves_none_of_its_files(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.safetensors", toys.snapshot()
    for size in (1000, 2000, 1 << 30, 1000):
        save_snapshot(path, rows, shard_size=size)
        assert torch.equal(load_snapshot(path).logits, rows.logits)
        assert path.exists() == (size == 1 << 30) != index_of(path).exists()
        if not path.exists():
            named = {shard["file"] for shard in json.loads(index_of(path).read_text())["shards"]}
            assert {file.name for file in tmp_path.glob("*.safetensors")} == named
        else:
            assert list(tmp_path.iterdir()) == [path]


def test_a_lost_or_foreign_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    save_snapshot(path, toys.snapshot(), shard_size=1000)
    second = sorted(tmp_path.glob("rows-*.safetensors"))[1]
    save_snapshot(second, toys.snapshot(n=5))
    with pytest.raises(BadInput, match=r"rows-00002-of-.* does not belong to"):
        load_snapshot(path)
    second.unlink()
    with pytest.raises(BadInput, match=r"there is no file .*rows-00002"):
        load_snapshot(path)
    index_of(path).write_text("{}")
    with pytest.raises(BadInput, match="no index of a snapshot"):
        load_snapshot(path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What every streaming method answers after a fit with less room than the snapshot takes."""
    if sys.platform != "linux":
        pytest.skip("address space is limited and measured on Linux only")
    command = [sys.executable, "-m", "tests.limited_memory", str(tmp_path_factory.mktemp("limited")), *STREAMING]
    one = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=os.environ | one)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["work"]: record for record in records}


@pytest.mark.parametrize("work", STREAMING)
def test_work_on_many_rows_needs_less_memory_than_they(work: str, fitted: dict[str, dict[str, object]]) -> None:
    record = fitted[work]
    assert "error" not in record, record["error"]
    if work in ("temperature", "vector", "isotonic", "histogram"):  # and it is the fit of the same rows in memory
        made = limited_memory.done(work, limited_memory.rows())
        torch.testing.assert_close(torch.tensor(made), torch.tensor(record["answers"]), atol=1e-4, rtol=1e-4)
    elif work in ("evaluate", "reliability", "average-logit-gap"):
        made = json.loads(json.dumps(limited_memory.done(work, limited_memory.rows())))
        records.close(made, record["answers"], within=1e-9)  # threads add up in another order
