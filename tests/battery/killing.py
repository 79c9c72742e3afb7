"""Commands that are killed before one of their changes of the disk, and the same command again."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from reclaim.calibration.files import load_calibrator
from reclaim.core.errors import BadInput
from reclaim.snapshots.reading import load_snapshot
from tests.battery.readers import Kind
from tests.battery.trying import at_work
from tests.cli import kills

__all__ = ["KILLS"]

PREDICT = ("predict", "--data", "x.npz", "--split", "test", "--model")
TUNE = ("tune", "fine-tune", "--data", "x.npz", "--batch-size", "10", "--epochs", "1", "--model")
MERGE = ("merge", "interpolation", "--before", "before", "--after", "after", "--alpha")
REPAIR = ("repair", "--before", "before.safetensors", "--after", "after.safetensors", "--mix")

# what is written: what another run wrote before, and what replaces it
WRITING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "o.safetensors": ((*PREDICT, "before"), (*PREDICT, "after")),
    "p.safetensors": ((*PREDICT, "before", "--shard-size", "1e-6"), (*PREDICT, "after", "--shard-size", "1e-6")),
    "o.json": (("calibrate", "temperature", "held.safetensors"), ("calibrate", "vector", "held.safetensors")),
    "p.json": (
        ("calibrate", "matrix", "held.safetensors"),
        ("calibrate", "matrix", "held.safetensors", "--intercept", "1"),
    ),
    "a.safetensors": (
        ("apply", "temperature.json", "before.safetensors"),
        ("apply", "vector.json", "after.safetensors"),
    ),
    "folded": (("apply", "logit-offset.json", "--model", "before"), ("apply", "logit-offset.json", "--model", "after")),
    "merged": ((*MERGE, "0.2"), (*MERGE, "0.7")),
    "repaired": ((*REPAIR, "0.2"), (*REPAIR, "1")),
    "made": ((*TUNE, "before"), (*TUNE, "after")),
    "page.html": (
        ("report", "before.safetensors", "before.safetensors"),
        ("report", "before.safetensors", "after.safetensors"),
    ),
}


@cache
def _whole(folder: Path, out: str) -> tuple[dict[str, str], dict[str, str], int, Path]:
    """What the old and the new output hold, how many changes lead there, and a copy of the old one."""
    first, second = ((*words, "--out", out, "--quiet") for words in WRITING[out])
    assert kills.run(*first, stderr=Path("said")) == 0, Path("said").read_text()
    old, saved = _content(out), folder.parent / f"saved {out}"
    saved.mkdir()
    for path in _files(out):
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, saved / path.name)
    count = len(kills.changes(*second, "--force"))
    new = _content(out)
    _clean(out)
    return old, new, count, saved


def _content(out: str) -> dict[str, str]:
    """What an output holds; where its files have other names in each run, what the one that is named first says."""
    index = Path(f"{out}.index.json")
    if out.endswith(".json"):
        return {out: Path(out).read_text()} if _loads(Path(out)) else {}
    if not index.exists():  # files that no index names are no output
        return kills.content(Path(out)) if Path(out).exists() else {}
    try:
        return {"logits": str(load_snapshot(Path(out)).logits[:].tolist())}
    except BadInput as error:
        return {"broken": str(error)}


def _loads(path: Path) -> bool:
    """Whether a whole calibrator is there."""
    try:
        return bool(load_calibrator(path))
    except BadInput:
        return False


def _files(out: str) -> set[Path]:
    """An output and the files that go with it."""
    return {path for path in (Path(out), *Path().glob(f"{Path(out).stem}[.-]*")) if path.exists()}


def _clean(out: str) -> None:
    for path in _files(out):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _strategy(folder: Path) -> st.SearchStrategy[Any]:
    return st.tuples(st.sampled_from(sorted(WRITING)), st.booleans(), st.floats(0, 1, exclude_max=True))


def _fault(folder: Path, tried: tuple[str, bool, float]) -> tuple[str, bool]:
    out, replaces, share = tried
    with at_work(folder):
        beside = {path.name for path in Path().iterdir()}
        try:
            return _killed(folder, out, replaces, share, beside), True
        finally:
            _clean(out)
            for name in {path.name for path in Path().iterdir()} - beside:
                shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()


def _killed(folder: Path, out: str, replaces: bool, share: float, beside: set[str]) -> str:
    old, new, count, saved = _whole(folder, out)
    if replaces:
        for path in saved.iterdir():
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, path.name)
    words = (*WRITING[out][1], "--out", out, "--quiet", *(["--force"] if replaces else []))
    if not kills.killed(*words, before=int(share * count)):
        return ""  # without an old output there are fewer changes
    left = _content(out)
    if left not in ((old, new) if replaces else ({}, new)):
        return f"a kill leaves {sorted(left)}, neither the old output nor the new one"
    again = words if replaces or not left else (*words, "--force")
    code = kills.run(*again, stderr=Path("said"))
    if code != 0 and (code != 2 or _content(out) != new):  # it may find the output that it has finished
        return f"the same command ends with exit code {code}: {Path('said').read_text()[-200:]}"
    if _content(out) != new:
        return "the same command makes another output"
    made = {path.name for path in _files(out)} | {"said"}
    junk = {path.name for path in Path().iterdir()} - beside - made
    return f"left behind: {sorted(junk)}" if junk else ""


KILLS = Kind("kills before a change of the disk", _strategy, _fault, weight=2)
