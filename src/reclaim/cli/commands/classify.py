"""``reclaim classify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, device_for, open_model, record_of
from reclaim.cli.places import take
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.kinds import SUFFIXES
from reclaim.core.numbers import Count, Share
from reclaim.core.terminal import in_json

if TYPE_CHECKING:
    from reclaim.models.classify import Answer

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def command(
    *files: Path,
    model: str,
    top: Count = 1,
    abstain_below: Share = 0.0,
    format: Literal["table", "csv", "jsonl"] | None = None,
    out: Path | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
    skip_bad: bool = False,
    inputs: Inputs = Inputs(),
    inference: Annotated[Inference, Parameter(name="*")] = Inference(),
    force: bool = False,
    output: Output = Output(),
) -> None:
    """Classify plain files, without labels or class folders: classes with their probabilities.

    Takes images, folders of images at any depth, tables (CSV, JSON lines, Parquet), and for models of text also files
    of lines. Says which share of rows is answered, and which of those is wrong if the model's record says it.

    Args:
        files: the images, folders, tables or texts.
        model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory.
        top: how many classes to give, the likeliest first.
        abstain_below: leave a row unanswered whose likeliest class has a smaller probability.
        format: how to print; by default a table.
        out: the .csv or .jsonl to write instead.
        image_column: the column of a table that holds images.
        text_column: the column of a table that holds texts.
        skip_bad: leave out examples that cannot be read, and list them.
        force: replace a file that exists.
    """
    from reclaim.core.terminal import say
    from reclaim.data.guesses import Columns
    from reclaim.models.classify import classify
    from reclaim.report.answered import answered_at

    if not files:
        raise BadInput("missing: FILES, the images, folders, tables or texts to classify.")
    kind = format or ("table" if out is None else FORMATS.get(out.suffix.lower(), "csv"))
    if out is not None:
        _take(out, model, files, kind, force=force, said=format is not None)
    where = device_for(inference.device)
    answers = classify(
        open_model(model, inputs),
        files,
        top=top,
        abstain_below=abstain_below,
        columns=Columns(image_column, text_column),
        skip_bad=skip_bad,
        inference=inference,
    )
    known = answered_at(model, abstain_below)
    record: dict[str, Any] = _whole(answers) | {"on_record": known}
    if out is not None:
        _write(out, _text(answers, kind, top), output.run_record(device=where, rows=len(answers), on_record=known))
        record["out"] = str(out)
    if not output.quiet:
        say(_sentence(answers, known))
    output.show(record, lambda: _print(answers, kind, top) if out is None else None)


def _take(out: Path, model: str, files: tuple[Path, ...], kind: str, *, force: bool, said: bool) -> None:
    """Take the output, whose suffix must say what is written; where nothing was said, it must say something."""
    right = tuple(suffix for suffix, own in FORMATS.items() if own == kind)
    if not right:
        raise BadInput("a table is printed, not written: say --format csv or jsonl, or leave out --format.")
    take(out, record_of(out), folder=False, force=force, reads=(model, *files), data=files, suffixes=right)
    if out.suffix.lower() not in SUFFIXES and not said:
        raise BadInput(f"{out} does not say how to write it. Name it {out.name}.csv or {out.name}.jsonl.")


def _write(out: Path, text: str, record: dict[str, Any]) -> None:
    from reclaim.core import disk
    from reclaim.core.files import atomic_file, together, write_json

    with together(out):
        with atomic_file(out) as temporary:
            disk.write_text(temporary, text)
        write_json(record_of(out), record)


def _whole(answers: tuple["Answer", ...]) -> dict[str, Any]:
    return {"rows": list(map(_record, answers)), "answered": sum(bool(answer.top) for answer in answers)}


def _record(answer: "Answer") -> dict[str, Any]:
    top = [{"class": name, "probability": p} for name, p in answer.top]
    return {"input": answer.name, "class": answer.answer, "probability": answer.probability, "top": top}


def _text(answers: tuple["Answer", ...], kind: str, top: int) -> str:
    """The rows as CSV or as JSON lines."""
    import csv
    import io

    if kind == "jsonl":
        return "".join(in_json(_record(answer)) + "\n" for answer in answers)
    page = io.StringIO()
    table = csv.writer(page, lineterminator="\n")
    more = [f"{name}_{rank}" for rank in range(2, top + 1) for name in ("class", "probability")]
    table.writerow(["input", "class", "probability", *more])
    for answer in answers:
        others = [value for pair in answer.top[1:] for value in pair]
        blank = [""] * (len(more) - len(others))
        table.writerow([answer.name, answer.answer or "", f"{answer.probability:.6g}", *others, *blank])
    return page.getvalue()


def _print(answers: tuple["Answer", ...], kind: str, top: int) -> None:
    import sys

    from rich.table import Table

    from reclaim.core.terminal import console, printable

    if kind != "table":
        sys.stdout.write(printable(_text(answers, kind, top)))
        return
    page = Table(box=None, padding=(0, 2, 0, 0))
    page.add_column("input")
    for rank in range(1, top + 1):
        page.add_column("class" if rank == 1 else "")
        page.add_column("%", justify="right")
    for answer in answers:
        cells = [cell for name, p in answer.top for cell in (name, f"{100 * p:.1f}")]
        page.add_row(answer.name, *(cells or ["–", f"{100 * answer.probability:.1f}"]))
    console().print(page)


def _sentence(answers: tuple["Answer", ...], known: dict[str, Any] | None) -> str:
    """How many rows are answered, and what is on record of such answers."""
    count = sum(bool(answer.top) for answer in answers)
    said = f"reclaim: {count} of {len(answers)} rows are answered"
    if known is None:
        return f"{said}; how many of the answers are wrong is not known: the model has no record of it."
    error = "" if known["error"] is None else f", of which {100 * known['error']:.1f} % were wrong"
    return (
        f"{said}; of the {known['rows']} rows that the repair reported on, {100 * known['share']:.1f} % have a "
        f"probability of at least {known['threshold']:g}{error}. It holds for rows like those."
    )
