"""Where a training run stands, and where a killed one goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from accelerate.utils import broadcast
from msgspec import Meta

from reclaim.core import disk
from reclaim.core.errors import BadInput
from reclaim.core.files import discard, put_in_place, write_json
from reclaim.core.records import read_record
from reclaim.training.budget import Budget
from reclaim.training.engine import Engine
from reclaim.training.kept import Kept
from reclaim.training.telling import Epoch

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
class _Begun:
    """An epoch that is not over.

    Attributes:
        loss: the sum over its batches so far, the mean over processes; None where it is not finite.
        batches: how many.
        seconds: since it began.
    """

    loss: float | None = 0.0
    batches: Annotated[int, Meta(ge=0)] = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Found:
    """What a saved state says of itself.

    Attributes:
        run: the run's numbers.
        step: the batch that comes next.
        files: the checksum of each file of the state; empty in states of version 0.1.
        epochs: those that are over; empty in states of version 0.1.
        begun: the one that is not.
    """

    run: dict[str, Any]
    step: Annotated[int, Meta(ge=0)]
    files: dict[str, str] = field(default_factory=dict)
    epochs: tuple[Epoch, ...] = ()
    begun: _Begun = _Begun()


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
        epochs: those that are over.
        since: when the one that is not began, on the clock that only ever goes on.
        resumed: whether it goes on from a state.
    """

    def __init__(
        self, engine: Engine, run: dict[str, Any], first: int, state: Sequence[Stateful], kept: Kept | None = None
    ) -> None:
        place = _place.get()
        self.folder: Path | None = next(place.folders) if place else None
        self.every = place.every if place else 0.0
        self.engine, self.accelerator, self.kept = engine, engine.accelerator, kept
        self.run, self.number, self.saved = run, first, time.monotonic()
        self.epochs: list[Epoch] = []
        self.due = False  # whether an epoch ended since the last state
        for one in state:
            self.accelerator.register_for_checkpointing(one)
        last = self._last()
        self.resumed = last is not None
        self.since = time.monotonic() if last is None else self._load(last)

    def _load(self, last: Path) -> float:
        """Go on from a state; returns when its epoch would have begun, had it not been stopped."""
        found = read_record(last / "run.json", _Found)
        self._check(found.run)
        if _checksums(last) != (found.files or _checksums(last)):
            raise BadInput(f"the state in {last} is not as it was written.\n  Remove {last} to start anew.")
        try:
            self.accelerator.load_state(str(last))
            if self.kept is not None:
                self.kept.load(last)
        except Exception as error:  # a damaged file ends in any class of the libraries that read it
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise BadInput(f"the state in {last} is damaged: {reason}.\n  Remove {last} to start anew.") from error
        self.number, self.epochs = found.step, list(found.epochs)
        self.engine.sum_from(float("nan") if found.begun.loss is None else found.begun.loss, found.begun.batches)
        return time.monotonic() - found.begun.seconds

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
        if self.folder is not None and whole and (self.due or self._late()):
            self.save()

    def log(self, one: Epoch, *, whole: bool) -> None:
        """Note the end of an epoch, and save the state with it, at once or when gradients are whole again."""
        self.epochs.append(one)
        self.engine.sum_from(0.0, 0)
        self.since = time.monotonic()
        self.due = True
        if self.folder is not None and whole:
            self.save()

    def save(self) -> None:
        """Write everything beside the last state, give it its name, and only then remove the last."""
        assert self.folder is not None
        main, wait = self.accelerator.is_main_process, self.accelerator.wait_for_everyone
        last, writing = self._last(), self.folder / "writing"
        loss, seconds = self.engine.summed_loss(), time.monotonic() - self.since
        if main:
            disk.remove_folder(writing)
            disk.make_folders(writing)
        wait()
        with disk.writing(writing):
            self.accelerator.save_state(str(writing))
        wait()
        if main:
            if self.kept is not None:
                self.kept.save(writing)
            begun = _Begun(loss if isfinite(loss) else None, self.engine.batches, seconds)
            about = {"epochs": [asdict(one) for one in self.epochs], "begun": asdict(begun)}
            write_json(
                writing / "run.json",
                {"run": self.run, "step": self.number, "files": _checksums(writing), **about},
            )
            put_in_place(writing, self.folder / f"step-{self.number}")
            if last is not None and last.name != f"step-{self.number}":
                discard(last, self.folder / "old")
        wait()
        self.due, self.saved = False, time.monotonic()

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
