"""Two processes do together what one does: each its share of the rows, and the first one prints and writes.

All of it takes two launches: one is killed with -9 at its end, and the other one resumes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reclaim.core.several import Several, started
from reclaim.models.checkpoint import save_weights
from reclaim.snapshots.index import read_index
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from reclaim.training.fit import fit
from tests import records, toys
from tests.several_at_work import BUDGET, COMMANDS, everything

ROOT = Path(__file__).parent.parent


def launch(what: str, place: Path, said: str) -> subprocess.CompletedProcess[str]:
    """Two processes; `said` is whether the launcher's environment says that they run on CPUs."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": said}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = str(Path(__file__).parent / "several_at_work.py")
    return subprocess.run(
        [*command, script, what, str(place)], capture_output=True, text=True, timeout=600, env=environment
    )


@dataclass(frozen=True)
class Worked:
    """Folders in which one process and two did the same, and what each of these printed."""

    one: Path
    two: Path
    alone: dict[str, Any]
    first: dict[str, Any]
    second: dict[str, Any]


def fill(place: Path) -> None:
    """Rows of three numbers, 120 to train on, 61, 113 and 1 others, and first weights."""
    place.mkdir()
    parts = dict(toys.data(120).splits)
    parts["val"] = toys.data(122, 5).split("val")
    parts["one"] = parts["val"].rows(torch.tensor([7]))
    np.savez(
        place / "rows.npz",
        x=np.stack([rows.read(i) for rows in parts.values() for i in range(len(rows))]),
        label=np.concatenate([rows.labels.numpy() for rows in parts.values()]),
        split=np.concatenate([[split] * len(rows) for split, rows in parts.items()]),
        classes=np.array(toys.CLASSES),
    )
    save_snapshot(place / "large.safetensors", toys.snapshot(40_000, 31, sunk=0.0), shard_size=1 << 20)  # many blocks
    torch.manual_seed(0)
    save_weights(place / "start.safetensors", toys.biasless().state_dict())


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worked]:
    root, before = tmp_path_factory.mktemp("several"), Path.cwd()
    for name in ("one", "two"):
        fill(root / name)
    killed = launch("first", root / "two", "true")
    assert killed.returncode == 1 and "SIGKILL" in killed.stderr, killed.stderr[:3000]
    going_on = launch("second", root / "two", "false")
    assert going_on.returncode == 0, going_on.stderr[:3000]
    sys.path.append(str(ROOT))
    try:
        os.chdir(root / "one")
        everything(root / "one")
    finally:
        os.chdir(before)
        sys.path.remove(str(ROOT))
    read = [
        json.loads((root / file).read_text())
        for file in ("one/printed-0.json", "two/printed-0.json", "two/printed-1.json")
    ]
    yield Worked(root / "one", root / "two", *read)


def test_every_command_ends_well_and_the_first_process_alone_prints(worked: Worked) -> None:
    for name in COMMANDS:
        if name in ("listed", "drawn"):
            continue
        for printed in (worked.alone, worked.first, worked.second):
            assert printed[name]["code"] == 0, (name, printed[name]["err"])
        assert worked.first[name]["out"] and not worked.second[name]["out"] and not worked.second[name]["err"], name


def test_a_command_for_one_process_is_refused(worked: Worked) -> None:
    assert worked.alone["listed"]["code"] == 0
    assert worked.first["listed"]["code"] == worked.second["listed"]["code"] == 2
    assert "`reclaim list` runs in one process, and a launcher started 2" in worked.first["listed"]["err"]


def test_a_network_that_draws_its_weights_in_each_process_is_refused_and_nothing_written(worked: Worked) -> None:
    assert worked.alone["drawn"]["code"] == 0
    for printed in (worked.first, worked.second):
        assert printed["drawn"]["code"] == 2 and "loaded other weights each" in printed["drawn"]["err"]
    assert "reclaim, process 2 of 2: the 2 processes loaded" in worked.second["drawn"]["err"]
    assert not list(worked.two.glob("drawn*"))


def test_the_loss_is_that_of_one_process_and_so_are_the_weights(worked: Worked) -> None:
    for name, within in (("tuned", 1e-4), ("half", 0.02)):
        one, two = (json.loads((place / name / "run.json").read_text()) for place in (worked.one, worked.two))
        assert [epoch["step"] for epoch in one["epochs"]] == ([5, 10, 15, 20] if name == "tuned" else [5, 10])
        for a, b in zip(one["epochs"], two["epochs"], strict=True):
            assert b["loss"] == pytest.approx(a["loss"], rel=within)
            assert b["seen_accuracy"] == pytest.approx(a["seen_accuracy"], abs=0 if name == "tuned" else 0.05)
        assert one.get("kept_epoch") == two.get("kept_epoch")


@pytest.mark.parametrize("name", ["test", "many", "val", "tiny"])
def test_the_snapshot_is_that_of_one_process_with_no_row_doubled_or_lost(worked: Worked, name: str) -> None:
    one, two = (load_snapshot(place / f"{name}.safetensors") for place in (worked.one, worked.two))
    assert torch.equal(one.known_labels, two.known_labels) and len(two) == {"val": 61, "tiny": 1}.get(name, 113)
    torch.testing.assert_close(two.logits[:], one.logits[:], rtol=0, atol=1e-5)
    assert one.features is not None and two.features is not None
    torch.testing.assert_close(two.features[:], one.features[:], rtol=0, atol=1e-5)
    assert (one.classes, one.origin, one.model_identity) == (two.classes, two.origin, two.model_identity)
    assert torch.equal(one.seen, two.seen)
    index = read_index(worked.two / f"{name}.safetensors.index.json")
    sizes = {"test": [56, 57], "val": [30, 31], "tiny": [1]}
    assert [shard.rows for shard in index.shards] == sizes.get(name, [shard.rows for shard in index.shards])
    assert all(shard.checksum and (worked.two / shard.file).is_file() for shard in index.shards)
    assert name != "many" or len(index.shards) > 4


def test_an_evaluation_says_the_same(worked: Worked) -> None:
    for name in ("evaluated", "applied"):
        records.close(*(json.loads(printed[name]["out"]) for printed in (worked.alone, worked.first)), within=1e-6)
    table = [printed["table"]["out"] for printed in (worked.alone, worked.first)]
    assert table[0] == table[1]


def test_calibrators_and_selectors_say_the_same(worked: Worked) -> None:
    for name, words in COMMANDS.items():
        if words[0] == "calibrate":
            one, two = (json.loads(printed[name]["out"]) for printed in (worked.alone, worked.first))
            records.close(one, two, 1e-6, name)


def test_nothing_is_left_behind(worked: Worked) -> None:
    assert not [path.name for path in worked.two.iterdir() if path.name.startswith(".")]
    assert not list(worked.two.glob("*.partial"))


def test_training_that_was_killed_ends_with_the_weights_of_an_unbroken_one(worked: Worked) -> None:
    kinds = ("resumed", "unbroken", "plain")
    loaded = {
        kind: [torch.load(worked.two / f"{kind}-{rank}.pth", weights_only=True) for rank in range(2)] for kind in kinds
    }
    assert toys.same(loaded["resumed"][0], loaded["unbroken"][0])
    assert all(toys.same(first, second) for first, second in loaded.values())
    model = toys.classifier()
    model.module.drop.p = 0.0
    fit(model, toys.data(), replace(BUDGET, precision="no", batch_size=16, optimizer="sgd"), mode="eval")
    for name, tensor in loaded["plain"][0].items():
        torch.testing.assert_close(tensor, model.weights[name], msg=name)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("items", [0, 1, 2, 7, 113])
def test_shares_hold_every_item_once_in_order(count: int, items: int) -> None:
    shares = [Several(rank, count).share(items) for rank in range(count)]
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert started() == 1
