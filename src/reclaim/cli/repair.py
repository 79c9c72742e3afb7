"""``reclaim repair``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, open_data, open_model
from reclaim.cli.method_flags import given_numbers, selector_numbers, with_numbers
from reclaim.cli.retraining import NAME as BY_RETRAINING
from reclaim.cli.retraining import TAKES, recipe_of, retraining_numbers
from reclaim.errors import BadInput
from reclaim.running import Running

if TYPE_CHECKING:
    from reclaim.data import Data
    from reclaim.repair import Repair

__all__ = ["command", "write"]


def repair(
    *,
    before: str,
    after: str,
    data: str,
    out: Path,
    seen: str | None = None,
    mix: float | Literal["auto"] = "auto",
    select: str = "auto",
    prefer: Literal["balanced", "seen", "absent"] | None = None,
    class_balance: float = 0.5,
    held_out: float = 0.5,
    unlabelled: str | None = None,
    source: str | None = None,
    labelled: str | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    inputs: Inputs = Inputs(),
    running: Annotated[Running, Parameter(name="*")] = Running(),
    force: bool = False,
    output: Output = Output(),
    **numbers: Any,
) -> None:
    """Repair a fine-tuned model without labels of absent classes: mix the weights, choose the offset, fold it in.

    Writes the repaired model in the format it came in, calibrator.json, report.html and run.json.

    Args:
        before: the pretrained model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory.
        after: the fine-tuned model, of the same architecture.
        data: the target domain: a folder of class folders, an .npz or Parquet file, or "digits-shifted". Rows of
            seen classes in val/ choose and test/ reports; with one split, a part of it chooses and the rest reports.
        out: the directory to write.
        seen: the classes that the fine-tuning had: a file with one per line, or names joined by commas. By default
            those the fine-tuned model's directory names, or those of the training split.
        mix: the weight of the fine-tuned model, from 0 to 1, or "auto".
        select: how to choose the offset; `reclaim list selectors` describes the ways. Another one,
            "pseudo-cross-validation", repeats the fine-tuning on parts of the seen classes; for this the fine-tuned
            model is a directory that `reclaim tune` wrote.
        prefer: give up the budget of lost seen accuracy for the best estimated accuracy over all classes, or with
            seen or absent classes counted twice.
        class_balance: how much of the shifts to take that bring single classes nearer to being answered as often as
            they should, from 0 to 1; --unlabelled data are taken to hold every class equally often.
        held_out: the share of rows that choose, where the data have only one split besides the training one.
        unlabelled: more evidence: data of the target domain whose labels are not read.
        source: more evidence: labelled data of all classes from the pretraining domain.
        labelled: more evidence: labelled data of all classes from the target domain.
        seed: of the division of the rows.
        skip_bad: leave out examples that cannot be read, and list them.
        force: replace a directory that exists.
    """
    from reclaim.atomic import atomic_directory, check_free
    from reclaim.repair import repair as run

    check_free(out, force=force)
    again = select == BY_RETRAINING
    given = given_numbers(select, numbers, TAKES if again else None)
    retrain = recipe_of(after, running) if again else None
    start, end = open_model(before, inputs), open_model(after, inputs)
    rows = open_data(data, seen, end, skip_bad=skip_bad)
    if seen is None and end.seen is None and "train" not in rows.splits:
        raise BadInput(
            "which classes did the fine-tuning have? Neither the model nor the data say.\n"
            "  Say --seen FILE, with one name per line, or --seen NAME,NAME,…"
        )
    if bool(rows.seen.all()):  # the data have no absent class: take those that only the model knows
        rows = rows.over(end.bind(rows.classes).classes)
    more = {"unlabelled": unlabelled, "source": source, "labelled": labelled}
    extra = {name: _like(open_data(path, None), rows, name) for name, path in more.items() if path is not None}
    result = run(start, end, rows, mix=mix, select=select, numbers=given, retrain=retrain, prefer=prefer,
                 class_balance=class_balance, extra=extra, held_out=held_out, seed=seed, running=running)  # fmt: skip
    with atomic_directory(out, force=force) as folder:
        record = write(folder, result, output, seed)
    output.show(record, lambda: _print(result, out))


command = with_numbers(repair, selector_numbers() | retraining_numbers())


def write(folder: Path, result: "Repair", output: Output, seed: int) -> dict[str, Any]:
    """Write the repaired model, the calibrator, the page and the record into a folder; returns the record."""
    from dataclasses import asdict

    from reclaim.atomic import write_json
    from reclaim.diagnoses import diagnose
    from reclaim.evaluate import evaluate
    from reclaim.io import calibrator_record, save_calibrator
    from reclaim.models import save
    from reclaim.repair import story
    from reclaim.report.html import render

    shown = {"before": result.before, "after": result.after, "repaired": result.repaired}
    findings = diagnose(result.before, result.after)
    rows = {name: evaluate(snapshot) for name, snapshot in shown.items()}
    save(folder, result.model)
    save_calibrator(folder / "calibrator.json", result.offset)
    page = render(shown, findings, story=story(result), mix=result.mix)
    (folder / "report.html").write_text(page, encoding="utf-8")
    record = output.run_record(
        seed=seed,
        mix=asdict(result.mix),
        **{key: value for key, value in calibrator_record(result.offset).items() if key not in ("classes", "seen")},
        bias=result.bias,
        **{name: row.record() for name, row in rows.items()},
        findings=[asdict(finding) for finding in findings],
    )
    write_json(folder / "run.json", record)
    return record


def _print(result: "Repair", out: Path) -> None:
    from rich.console import Console

    from reclaim.cli.show import accuracy_table, mixing_table
    from reclaim.evaluate import evaluate
    from reclaim.repair import story

    shown = {"before": result.before, "after": result.after, "repaired": result.repaired}
    rows = {name: evaluate(snapshot) for name, snapshot in shown.items()}
    accuracy_table(rows, title=f"{len(result.repaired)} rows that chose nothing")
    console = Console(highlight=False, soft_wrap=True)
    if (ceiling := rows["after"].tradeoff.best_all) is not None:
        console.print(f"ceiling of an offset on the fine-tuned model alone, on these rows: {100 * ceiling:.1f} %")
    if result.mix.tried:
        mixing_table(result.mix)
    for term, sentence in story(result):
        console.print(f"[bold]{term}[/bold]: {sentence}")
    console.print(f"the repaired model and the report: {out}")


def _like(data: "Data", rows: "Data", kind: str) -> "Data":
    """More data over the same classes, with the same ones seen. Of unlabelled data, no label or folder name counts."""
    if kind == "unlabelled":
        nameless = {
            name: replace(split, labels=split.labels.new_zeros(len(split))) for name, split in data.splits.items()
        }
        return replace(rows, splits=nameless, source=data.source)
    return replace(data.over(rows.classes), seen=rows.seen)
