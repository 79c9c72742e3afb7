"""Flags that several commands share, and what they stand for. Imports no torch before a command runs."""

import json
import platform
import shlex
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from reclaim.core.name_lists import names_in

if TYPE_CHECKING:
    from reclaim.data.records import Data
    from reclaim.models.classifier import Classifier

__all__ = ["STARTED", "Inputs", "Output", "device_for", "open_data", "open_model"]

STARTED: ContextVar[float] = ContextVar("started")  # when the command was, on the clock that only ever goes on


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """What is printed.

    Attributes:
        json: print one JSON object and nothing else.
        quiet: show no progress.
        debug: show the traceback of an error.
    """

    json: bool = False
    quiet: bool = False
    debug: bool = False

    def show(self, record: dict[str, Any], table: Callable[[], None]) -> None:
        """Print the record with --json, and the table otherwise."""
        if self.json:
            sys.stdout.write(json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n")
        else:
            table()

    def run_record(self, **numbers: Any) -> dict[str, Any]:
        """What repeats the run: the command, versions, times, and the numbers given."""
        return {
            "command": shlex.join(["reclaim", *sys.argv[1:]]),
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("reclaim", "torch", "numpy", "accelerate", "safetensors")},
            },
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(time.monotonic() - STARTED.get(), 3),
            **numbers,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Inputs:
    """How examples become inputs, where the model's own way is not the right one.

    Attributes:
        image_size: scale images to this shorter side, in pixels, and cut out the square in the centre.
        mean: subtracted per channel, after scaling to [0, 1].
        std: divided by per channel.
        classes: a file that names the model's outputs, one per line, in order.
        head: the dotted name of the model's last layer, where the one found is not right.
        weights: of a checkpoint that holds raw and averaged weights, which to take; by default the averaged ones.
    """

    image_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    classes: Path | None = None
    head: str | None = None
    weights: Literal["raw", "averaged"] | None = None


def device_for(name: str) -> str:
    """The device of that name, to be looked for before any work is done.

    Raises: BadInput with those there are, if there is no such one.
    """
    from reclaim.core.devices import find_device

    return str(find_device(name))


def open_model(spec: str, inputs: Inputs = Inputs()) -> "Classifier":
    """Load a model, with what the flags say of its inputs and outputs."""
    from reclaim.models.directory import load_model

    classes = None if inputs.classes is None else names_in(inputs.classes)
    return load_model(
        spec,
        inputs.head,
        image_size=inputs.image_size,
        mean=inputs.mean,
        std=inputs.std,
        classes=classes,
        weights=inputs.weights,
    )


def open_data(source: str, seen: str | None, *models: "Classifier", skip_bad: bool = False) -> "Data":
    """Open data and settle which classes are seen: those of `seen`, of a model that knows, or of the training split.

    With --skip-bad, examples that cannot be read are left out, counted and listed on standard error.
    """
    from reclaim.data.load import load_data, without_unreadable

    data = load_data(source)
    known = next((model.seen for model in models if model.seen is not None), None)
    if seen is not None:
        data = data.with_seen(tuple(names_in(Path(seen)) if Path(seen).is_file() else seen.split(",")))
    elif known is not None:
        data = data.with_seen(tuple(name for name in known if name in data.classes))
    if skip_bad:
        data, bad = without_unreadable(data)
        sys.stderr.writelines(f"left out: {name}\n" for name in bad)
        sys.stderr.write(f"{len(bad)} unreadable examples left out\n")
    return data
