"""Flags that several commands share, and what they stand for. Imports no torch before a command runs."""

import platform
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Parameter

from reclaim.core.errors import BadInput
from reclaim.core.name_lists import names_in
from reclaim.core.numbers import Pixels, check_fields
from reclaim.core.several import alone, rank
from reclaim.core.terminal import in_json, say

if TYPE_CHECKING:
    from reclaim.data.records import Data
    from reclaim.models.classifier import Classifier

__all__ = [
    "OPENED",
    "STARTED",
    "STDOUT",
    "Heads",
    "Inputs",
    "Output",
    "Reading",
    "device_for",
    "names_given",
    "open_data",
    "open_model",
    "record_of",
]

STARTED: ContextVar[float] = ContextVar("started")  # when the command was, on the clock that only ever goes on
OPENED: ContextVar[tuple["Data", ...]] = ContextVar("opened", default=())  # the data that the command has opened

STDOUT: ContextVar[TextIO] = ContextVar("stdout")  # what was asked for goes there, and nothing else


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
        """Print the record with --json, and the table otherwise; on standard error, what folders held.

        Of several processes the first one prints.
        """
        if rank():
            return
        for data in OPENED.get():
            _say_report(data, self, at_once=False)
        with redirect_stdout(STDOUT.get(sys.stdout)), alone():
            if self.json:
                sys.stdout.write(in_json(record) + "\n")
            else:
                table()

    def run_record(self, **numbers: Any) -> dict[str, Any]:
        """What repeats the run: the command, versions, times, the numbers given, and what the data held."""
        opened = {"data": [_about(data) for data in OPENED.get()]} if OPENED.get() else {}
        return {
            "command": shlex.join(["reclaim", *sys.argv[1:]]),
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("reclaim", "torch", "numpy", "accelerate", "safetensors")},
            },
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(time.monotonic() - STARTED.get(), 3),
            **opened,
            **numbers,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Inputs:
    """How examples become inputs, where the model's own way is not the right one.

    Attributes:
        image_size: scale images to this shorter side, in pixels, and cut out the square in the centre.
        mean: subtracted per channel, after scaling to [0, 1]; a number for each channel.
        std: divided by per channel.
        classes: a file that names the model's outputs, one per line, in order.
        head: the dotted name of the model's last layer, where the one found is not right.
        upright: turn images as their orientation tags (EXIF) say; else they are read as stored.
        weights: of a checkpoint that holds raw and averaged weights, which to take; by default the averaged ones.
    """

    image_size: Pixels | None = None
    mean: Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True)] = None
    std: Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True)] = None
    classes: Path | None = None
    head: str | None = None
    upright: bool = False
    weights: Literal["raw", "averaged"] | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How data are read.

    Attributes:
        skip_bad: leave out examples that cannot be read, and list them.
        image_column: the column of a table that holds images, as bytes or paths relative to the table.
        text_column: the column of a table that holds texts.
        label_column: the column of a table that holds labels. Columns that are not named are guessed, and said.
        group_column: the column of a table that says which rows belong together, such as a patient; they are never
            divided. By default "groups", where there is one.
        label_map: a file that names the class of each label: a JSON object, or a table of two columns.
    """

    skip_bad: bool = False
    image_column: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    label_map: Path | None = None

    @property
    def said(self) -> dict[str, str]:
        """What is said of columns and labels, by its argument."""
        own = {
            "image_column": self.image_column,
            "text_column": self.text_column,
            "label_column": self.label_column,
            "group_column": self.group_column,
            "label_map": None if self.label_map is None else str(self.label_map),
        }
        return {name: value for name, value in own.items() if value is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Heads:
    """What the outputs of two models are called, where each has its own.

    Attributes:
        before_classes: the names of the pretrained model's outputs, in order: a file with one per line, or names
            joined by commas. By default those that the model knows, or --classes.
        after_classes: those of the fine-tuned model's, whose head may be for other classes.
    """

    before_classes: str | None = None
    after_classes: str | None = None

    def open(
        self, before: str, after: str, inputs: Inputs, initial: Path | None = None
    ) -> tuple["Classifier", "Classifier"]:
        """Load both models, with these names; an adapter is put on the first, `initial` is what it began with."""
        from reclaim.models.adapter_files import is_adapter, with_adapter

        first = _open_named(before, self.before_classes, inputs)
        if is_adapter(Path(after)):
            return first, _named(with_adapter(first, Path(after), initial), self.after_classes)
        if initial is not None:
            raise BadInput(f"--initial is only for adapters, and {after} is none.")
        return first, _open_named(after, self.after_classes, inputs)


def _open_named(spec: str, names: str | None, inputs: Inputs) -> "Classifier":
    return _named(open_model(spec, inputs if names is None else replace(inputs, classes=None)), names)


def _named(model: "Classifier", names: str | None) -> "Classifier":
    from reclaim.core.checks import check_classes

    classes = model.classes if names is None else check_classes(names_given(names), model.num_outputs)
    return replace(model, classes=classes)


def names_given(names: str) -> tuple[str, ...]:
    """Names from a file, or as they stand, joined by commas."""
    return tuple(names_in(Path(names)) if Path(names).is_file() else names.split(","))


def device_for(name: str) -> str:
    """The device of that name, to be looked for before any work is done.

    Raises: BadInput with those there are, if there is no such one.
    """
    from reclaim.core.devices import find_device

    return str(find_device(name))


def record_of(out: Path) -> Path:
    """Where the record of the run lies that wrote a file: beside it, under its whole name, so that no two share one."""
    return out.with_name(f"{out.name}.run.json")


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
        upright=inputs.upright or None,
        weights=inputs.weights,
    )


def open_data(
    source: str,
    seen: str | None,
    *models: "Classifier",
    reading: Reading = Reading(),
    output: Output = Output(),
    labelled: bool = True,
) -> "Data":
    """Open data and settle which classes are seen: those of `seen`, of a model that knows, or of the training split.

    What a folder held is said in a line on standard error, here if something was left out, and at the end
    (`Output.show`) otherwise, but not with --json. --quiet leaves out the line, unless examples may have been left out.
    With --skip-bad, examples that cannot be read are left out, counted and listed there.
    """
    from reclaim.data.guesses import Columns
    from reclaim.data.load import open_source, without_unreadable

    columns = Columns(reading.image_column, reading.text_column, reading.label_column, reading.group_column)
    data = open_source(source, columns, label_map=reading.label_map, labelled=labelled)
    known = next((model.seen for model in models if model.seen is not None), None)
    if seen is not None:
        data = data.with_seen(names_given(seen))
    elif known is not None:
        data = data.with_seen(tuple(name for name in known if name in data.classes))
    _say_report(data, output, at_once=True)
    if reading.skip_bad:
        data, bad = without_unreadable(data)
        for name in bad:
            say(f"left out: {name}")
        say(f"{len(bad)} unreadable examples left out")
    OPENED.set((*OPENED.get(), data))
    return data


def _say_report(data: "Data", output: Output, *, at_once: bool) -> None:
    """Say what a folder held: at once if something was left out or guessed, at the end of the command otherwise."""
    report = data.report
    if report is None:
        return
    if at_once:
        due = report.worth_a_word or (report.remarkable and not output.quiet)
    else:
        counted = report.folders is not None or report.files is not None
        due = counted and not (report.remarkable or output.quiet or output.json)
    if due and not rank():
        say(f"reclaim: {report.line(data.source)}")


def _about(data: "Data") -> dict[str, Any]:
    """What data held, for the record: rows, what was left out, and what was noticed of the images that were read."""
    report = {} if data.report is None else data.report.record()
    noticed = {} if data.noticed is None else data.noticed.counts()
    return {"source": data.source, **report, "noticed": noticed}
