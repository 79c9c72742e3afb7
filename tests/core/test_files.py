"""Files: whole or not there."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reclaim.core.errors import BadInput
from reclaim.core.files import atomic_directory, atomic_file, write_json
from reclaim.core.records import read_json
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(BadInput, match="not valid JSON"):
        read_json(tmp_path / "record.json")


def test_a_record_never_holds_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


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
from reclaim.core.files import *
from reclaim.models.checkpoint import *
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import *
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
