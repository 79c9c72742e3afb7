"""Every file that a command reads, damaged and lying, and the command that reads it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from reclaim.core.registry import names
from tests.battery.damage import Cut, Flip, Lie, applied, changes_of_bytes, lies
from tests.battery.room import CLASSES, FACTORY
from tests.battery.trying import Outcome, fault_of, ran

__all__ = ["READERS", "Kind", "Reader"]

PREDICT = ("predict", "--split", "test", "--out", "o.safetensors", "--quiet", "--device", "cpu")


@dataclass(frozen=True)
class Kind:
    """A way of trying.

    Attributes:
        name: in the table.
        strategy: what to try, given the folder with the good files.
        weight: how often it is tried, beside the others.
        fault: what is wrong with what came of one try in that folder; empty for nothing. And whether it was refused.
    """

    name: str
    strategy: Callable[[Path], st.SearchStrategy[Any]]
    fault: Callable[[Path, Any], tuple[str, bool]]
    weight: int = 1


@dataclass(frozen=True)
class Reader:
    """Files of one kind.

    Attributes:
        name: in the table.
        files: that are damaged, each by turns; patterns of names in the folder.
        words: the command that reads such a file, given its name.
        record: whether the files are JSON, which may lie; others only have bytes.
        text: whether no loss can be told from another text.
        idle: bytes at the end whose loss loses nothing.
        kept: whether a change of any byte shows, by a checksum or by the format's own, where numbers stand.
    """

    name: str
    files: tuple[str, ...]
    words: Callable[[str], tuple[object, ...]]
    record: bool = False
    text: bool = False
    idle: int = 0
    kept: bool = False

    def kind(self) -> Kind:
        """As a way of trying."""
        return Kind(self.name, self._strategy, self._fault)

    def _strategy(self, folder: Path) -> st.SearchStrategy[Any]:
        def of(file: str) -> st.SearchStrategy[Any]:
            how = changes_of_bytes()
            if self.record:
                how = st.one_of(lies((folder / file).read_bytes()), lies((folder / file).read_bytes()), how)
            return st.tuples(st.just(file), how)

        found = [path for pattern in self.files for path in sorted(folder.glob(pattern))]
        return st.sampled_from([str(path.relative_to(folder)) for path in found]).flatmap(of)

    def _fault(self, folder: Path, tried: tuple[str, Flip | Cut | Lie]) -> tuple[str, bool]:
        file, change = tried
        path = folder / file
        content = path.read_bytes()
        damaged = applied(change, content)
        try:
            path.write_bytes(damaged)
            outcome = ran(folder, *self.words(file))
        finally:
            path.write_bytes(content)
            _tidy(folder)
        fault = fault_of(outcome, bad=True if self._surely_bad(change, content, damaged) else None)
        if not fault and outcome.code == 0 and self.kept and not isinstance(change, Lie):
            fault = self._other_than(folder, file, outcome)
        return fault, outcome.code == 2

    def _surely_bad(self, change: Flip | Cut | Lie, content: bytes, damaged: bytes) -> bool:
        if isinstance(change, Cut) and not change.more:
            used = len(content.rstrip() if self.record else content) - self.idle
            return not self.text and len(damaged) < used
        if isinstance(change, Lie):
            return change.how == "replace" and _another_kind(change, content)
        return False

    def _other_than(self, folder: Path, file: str, outcome: Outcome) -> str:
        good = ran(folder, *self.words(file))
        _tidy(folder)
        return "" if _numbers(good.out) == _numbers(outcome.out) else "gives other numbers"


FREE = {"details", "evidence"}  # what records hold for people, of any type inside
UNREAD = {
    "data",
    "versions",
    "command",
    "finished",
    "seconds",
    "device",
    "workers",
    "epochs",
    "kept_epoch",
}  # for people, or said anew by the reader


def _another_kind(lie: Lie, content: bytes) -> bool:
    """Whether a value of another type stands where the type is known."""
    value = json.loads(content)
    for key in lie.place:
        value = value[key]
    if FREE & set(map(str, lie.place[:-1])) or UNREAD & set(map(str, lie.place)) or value is None:
        return False
    kinds = [float if isinstance(x, int | float) and not isinstance(x, bool) else type(x) for x in (value, lie.value)]
    return kinds[0] is not kinds[1] and lie.value is not None


def _numbers(out: str) -> Any:
    return {key: value for key, value in json.loads(out).items() if key not in ("seconds", "finished")}


def _tidy(folder: Path) -> None:
    """Take away what a command that succeeded wrote."""
    for path in folder.glob("o[.-]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in folder.glob("tuned.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _evaluate(file: str) -> tuple[object, ...]:
    return ("evaluate", "parts.safetensors" if file.startswith("parts") else file, "--json")


def _calibrated(file: str) -> tuple[object, ...]:
    return ("evaluate", "after.safetensors", "--calibrator", file, "--json", "--same-split")


def _beside(file: str) -> tuple[object, ...]:
    return _calibrated(re.sub(r"(-[0-9a-f]{8})?\.tensors\.safetensors$", ".json", file))


def _model(file: str) -> tuple[object, ...]:
    return (*PREDICT, "--model", file.partition("/")[0], "--data", "x.npz", "--json")


def _weights(file: str) -> tuple[object, ...]:
    return (*PREDICT, "--model", f"plain/{FACTORY}@{file}", "--data", "x.npz", "--classes", "classes.txt", "--json")


def _data(file: str) -> tuple[object, ...]:
    return (*PREDICT, "--model", "after", "--data", file.partition("/")[0], "--json")


def _listed(file: str) -> tuple[object, ...]:
    flag = {"classes.txt": "--classes", "seen.txt": "--seen"}[file]
    return (*PREDICT, "--model", f"plain/{FACTORY}@weights.pth", "--data", "x.npz", flag, file, "--json")


def _retrained(file: str) -> tuple[object, ...]:
    pair = ("--before", "before", "--after", file.partition("/")[0], "--data", "x.npz")
    return ("repair", *pair, "--out", "o.repaired", "--select", "pseudo-cross-validation", "--runs", "1", "--quiet")


def _mixed(file: str) -> tuple[object, ...]:
    return ("apply", file, "after.safetensors", "--before", "before.safetensors", "--out", "o.safetensors", "--json")


CALIBRATORS = tuple(f"{name}.json" for name in names("calibrators"))
PICTURE = f"pictures/test/{CLASSES[0]}/60.png"

READERS = (
    Reader("snapshot, safetensors", ("after.safetensors",), _evaluate, kept=True),
    Reader("snapshot, npz", ("stored.npz", "packed.npz"), _evaluate, kept=True),
    Reader("shard index", ("parts.safetensors.index.json",), _evaluate, record=True),
    Reader("shards", ("parts-*.safetensors",), _evaluate, kept=True),
    Reader("tensors of a calibrator", ("*.tensors.safetensors",), _beside, kept=True),
    Reader("calibrator", CALIBRATORS, _calibrated, record=True),
    Reader("mixture.json", ("mixture.json",), _mixed, record=True),
    Reader("reclaim.json", ("after/reclaim.json",), _model, record=True),
    Reader("run.json", ("tuned/run.json",), _retrained, record=True),
    Reader("weights", ("before/model.safetensors", "weights.pth", "checkpoint.pt"), _weights),
    Reader("table", ("x.npz",), _data),
    Reader("picture", (PICTURE,), _data, idle=24),
    Reader("list of names", ("classes.txt", "seen.txt"), _listed, text=True),
)
