"""Where a training run stands, and where a killed one goes on."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from reclaim.core.errors import BadInput
from reclaim.core.files import put_in_place, read_json, write_json
from reclaim.training.budget import Budget

__all__ = ["RunState", "resuming"]

SECONDS_BETWEEN_CHECKPOINTS = 120.0

_folders: ContextVar[Iterator[Path] | None] = ContextVar("folders", default=None)


@contextmanager
def resuming(folder: Path) -> Iterator[None]:
    """Let the fits inside save their state in `folder`, and resume from it.

    A recipe that is repeated inside the same folder, with the same arguments, goes on where it was stopped and ends
    with the same weights. Each fit of the recipe has a folder of its own, numbered in order.
    """
    token = _folders.set(folder / f"fit-{number}" for number in count(1))
    try:
        yield
    finally:
        _folders.reset(token)


class RunState:
    """Where a run stands; inside `resuming`, also where it resumes from: the last of the folders ``step-N``."""

    def __init__(self, accelerator: Accelerator, budget: Budget, rows: int) -> None:
        folders = _folders.get()
        self.folder = next(folders) if folders else None
        self.accelerator, self.step, self.saved = accelerator, 0, time.monotonic()
        self.run = {key: value for key, value in asdict(budget).items() if key not in ("workers", "device")}
        self.run["rows"] = rows
        if last := self._last():
            found = read_json(last / "run.json")
            if found["run"] != self.run:
                other = [f"{key} was {found['run'].get(key)}, is {value}" for key, value in self.run.items()
                         if found["run"].get(key) != value]  # fmt: skip
                raise BadInput(
                    f"{self.folder} holds the state of another run ({'; '.join(other)}).\n"
                    "  Repeat its command to resume it, or remove the folder to start anew."
                )
            accelerator.load_state(str(last))
            self.step = found["step"]

    def advance(self) -> None:
        """Count a step, and save the state now and then."""
        self.step += 1
        if self.folder is not None and time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.save()

    def log(self, line: dict[str, Any]) -> None:
        """Note the end of an epoch, and save the state."""
        if self.folder is not None:
            self.save()
            if self.accelerator.is_main_process:
                with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write everything beside the last state, give it its name, and only then remove the last."""
        assert self.folder is not None
        main, wait = self.accelerator.is_main_process, self.accelerator.wait_for_everyone
        last, writing = self._last(), self.folder / "writing"
        if main:
            shutil.rmtree(writing, ignore_errors=True)
            writing.mkdir(parents=True)
        wait()
        self.accelerator.save_state(str(writing))
        wait()
        if main:
            write_json(writing / "run.json", {"run": self.run, "step": self.step})
            put_in_place(writing, self.folder / f"step-{self.step}")
            if last is not None and last.name != f"step-{self.step}":
                shutil.rmtree(last, ignore_errors=True)
        wait()
        self.saved = time.monotonic()

    def _last(self) -> Path | None:
        """The folder of the last state, if there is one."""
        steps = self.folder.glob("step-*") if self.folder is not None else ()
        return max(steps, key=lambda path: int(path.name.removeprefix("step-")), default=None)
