"""Where a training run stands, and where a killed one goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from msgspec import Meta

from reclaim.core import disk
from reclaim.core.errors import BadInput
from reclaim.core.files import discard, put_in_place, write_json
from reclaim.core.records import read_record
from reclaim.training.budget import Budget

__all__ = ["RunState", "Stateful", "resuming"]


class Stateful(Protocol):
    """What can be saved and resumed: networks, optimizers, and whatever has these two methods."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class _Place:
    folders: Iterator[Path]
    every: float


@dataclass(frozen=True)
class _Found:
    """What a saved state says of itself.

    Attributes:
        run: the run's numbers.
        step: the batch that comes next.
        files: the checksum of each file of the state; empty in states of version 0.1.
    """

    run: dict[str, Any]
    step: Annotated[int, Meta(ge=0)]
    files: dict[str, str] = field(default_factory=dict)


def _checksums(folder: Path) -> dict[str, str]:
    """The checksum of each file of a state, but for its record."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "run.json")
    made = {}
    for file in files:
        with file.open("rb") as opened:
            made[file.relative_to(folder).as_posix()] = hashlib.file_digest(opened, "sha256").hexdigest()
    return made


_place: ContextVar[_Place | None] = ContextVar("place", default=None)


@contextmanager
def resuming(folder: Path, *, every: float = 120.0) -> Iterator[None]:
    """Let the runs inside save their state in `folder`, and resume from it.

    A recipe that is repeated inside the same folder, with the same arguments, goes on where it was stopped and ends
    with the same weights. Each run of the recipe has a folder of its own, numbered in order.

    Args:
        every: seconds between two states within an epoch; one is saved after each epoch too.
    """
    token = _place.set(_Place((folder / f"fit-{number}" for number in count(1)), every))
    try:
        yield
    finally:
        _place.reset(token)


class RunState:
    """Where a run stands; inside `resuming`, also where it resumes from: the last of the folders ``step-N``.

    Attributes:
        number: the batch that comes next.
    """

    def __init__(self, accelerator: Accelerator, run: dict[str, Any], first: int, state: Sequence[Stateful]) -> None:
        place = _place.get()
        self.folder: Path | None = next(place.folders) if place else None
        self.every = place.every if place else 0.0
        self.accelerator, self.run, self.number, self.saved = accelerator, run, first, time.monotonic()
        self.lines: list[dict[str, Any]] = []  # of the log, since the last state
        for one in state:
            accelerator.register_for_checkpointing(one)
        if last := self._last():
            found = read_record(last / "run.json", _Found)
            self._check(found.run)
            if _checksums(last) != (found.files or _checksums(last)):
                raise BadInput(f"the state in {last} is not as it was written.\n  Remove {last} to start anew.")
            try:
                accelerator.load_state(str(last))
            except Exception as error:  # a damaged file ends in any class of the libraries that read it
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise BadInput(f"the state in {last} is damaged: {reason}.\n  Remove {last} to start anew.") from error
            self.number = found.step

    def _check(self, found: dict[str, Any]) -> None:
        """Raise unless the state found is this run's; what older versions did not write down had its default."""
        found = asdict(Budget()) | {"device": self.run["device"]} | found
        keys = dict.fromkeys((*self.run, "span"))
        other = [f"{k} was {found.get(k)}, is {self.run.get(k)}" for k in keys if found.get(k) != self.run.get(k)]
        if other:
            raise BadInput(
                f"{self.folder} holds the state of another run ({'; '.join(other)}).\n"
                "  Repeat its command to resume it, or remove the folder to start anew."
            )

    def advance(self, whole: bool) -> None:
        """Count a batch, and save the state now and then, but not while gradients are added up."""
        self.number += 1
        if self.folder is not None and whole and (self.lines or self._late()):
            self.save()

    def log(self, line: dict[str, Any], *, whole: bool) -> None:
        """Note the end of an epoch, and save the state with it, at once or when gradients are whole again."""
        if self.folder is not None:
            self.lines.append(line)
            if whole:
                self.save()

    def save(self) -> None:
        """Write everything beside the last state, give it its name, and only then remove the last."""
        assert self.folder is not None
        main, wait = self.accelerator.is_main_process, self.accelerator.wait_for_everyone
        last, writing = self._last(), self.folder / "writing"
        if main:
            disk.remove_folder(writing)
            disk.make_folders(writing)
        wait()
        with disk.writing(writing):
            self.accelerator.save_state(str(writing))
        wait()
        if main:
            write_json(writing / "run.json", {"run": self.run, "step": self.number, "files": _checksums(writing)})
            put_in_place(writing, self.folder / f"step-{self.number}")
            if last is not None and last.name != f"step-{self.number}":
                discard(last, self.folder / "old")
            disk.append(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.lines))
        wait()
        self.lines, self.saved = [], time.monotonic()

    def _late(self) -> bool:
        """Whether it is time to save; of several processes the first one's clock decides, asked now and then."""
        late = time.monotonic() - self.saved > self.every
        if self.accelerator.num_processes == 1:
            return late
        return self.number % 16 == 0 and bool(broadcast(torch.tensor(float(late), device=self.accelerator.device)))

    def _last(self) -> Path | None:
        """The folder of the last whole state, if there is one; its record is written last."""
        records = self.folder.glob("step-*/run.json") if self.folder is not None else ()
        steps = (record.parent for record in records)
        return max(steps, key=lambda path: int(path.name.removeprefix("step-")), default=None)
