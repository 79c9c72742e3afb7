"""Repair a fine-tuned model: mix the weights, choose the offset, fold it in, report."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, open_data, open_model
from reclaim.cli.method_flags import given_numbers, selector_numbers, with_numbers
from reclaim.cli.retraining import NAME as BY_RETRAINING
from reclaim.cli.retraining import TAKES, recipe_of, retraining_numbers
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference

if TYPE_CHECKING:
    from reclaim.data.records import Data
    from reclaim.repairs.models import Repair

__all__ = ["command", "write"]


def repair(
    *,
    before: str,
    after: str,
    out: Path,
    data: str | None = None,
    seen: str | None = None,
    mix: float | Literal["auto"] = "auto",
    select: str = "auto",
    prefer: Literal["balanced", "seen", "absent"] | None = None,
    class_balance: float = 0.5,
    held_out: float = 0.5,
    unlabelled: str | None = None,
    source: str | None = None,
    labelled: str | None = None,
    report: str | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    inputs: Inputs = Inputs(),
    inference: Annotated[Inference, Parameter(name="*")] = Inference(),
    force: bool = False,
    output: Output = Output(),
    **numbers: Any,
) -> None:
    """Repair a fine-tuned model without labels of absent classes: mix the weights, choose the offset, fold it in.

    Writes the repaired model in the format it came in, calibrator.json, report.html and run.json. Given snapshots of
    two models instead, of any architectures, it mixes their answers and writes mixture.json for `reclaim apply`.

    Args:
        before: the pretrained model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory; or its snapshot.
        after: the fine-tuned model, of the same architecture; or its snapshot of the same rows.
        data: the target domain: a folder of class folders, an .npz or Parquet file, or "digits-shifted". Rows of
            seen classes in val/ choose and test/ reports; with one split, a part of it chooses and the rest reports.
            Snapshots need none.
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
        labelled: more evidence: labelled data of all classes from the target domain. Beside snapshots each of these is
            two of them, BEFORE,AFTER.
        report: two more snapshots, BEFORE,AFTER, of rows to report on; all of the first two may then choose.
        seed: of the division of the rows.
        skip_bad: leave out examples that cannot be read, and list them.
        force: replace a directory that exists.
    """
    from reclaim.cli.repair_output import print_report
    from reclaim.cli.snapshots import repair_snapshots, snapshots_given
    from reclaim.core.files import atomic_directory, check_free
    from reclaim.models.head import settled
    from reclaim.repairs.models import repair as run
    from reclaim.report.story import story

    again = select == BY_RETRAINING
    kinds = {"unlabelled": unlabelled, "source": source, "labelled": labelled}
    more = {kind: place for kind, place in kinds.items() if place is not None}
    given = given_numbers(select, numbers, TAKES if again else None)
    choices: dict[str, Any] = {"mix": mix, "select": select, "numbers": given, "prefer": prefer,
                               "class_balance": class_balance, "held_out": held_out, "seed": seed}  # fmt: skip
    of_models = {
        "--data": data is not None,
        "--seen": seen is not None,
        "--skip-bad": skip_bad,
        "--image-size, --mean, --std, --classes or --head": inputs != Inputs(),
        f"--select {BY_RETRAINING}": again,
    }
    check_free(out, force=force)
    if snapshots_given(before, after, of_models, {"--report": report is not None}):
        repair_snapshots(before, after, out, output, more, report, choices, force=force)
        return
    if data is None:
        raise BadInput("two models are repaired by data: say --data DATA. Two snapshots need none.")
    retrain = recipe_of(after, inference) if again else None
    start, end = open_model(before, inputs), open_model(after, inputs)
    rows = open_data(data, seen, end, skip_bad=skip_bad)
    if seen is None and end.seen is None and "train" not in rows.splits:
        raise BadInput(
            "which classes did the fine-tuning have? Neither the model nor the data say.\n"
            "  Say --seen FILE, with one name per line, or --seen NAME,NAME,…"
        )
    if bool(rows.seen.all()):  # the data have no absent class: take those that only the model knows
        rows = rows.over(settled(end, rows).classes)
    extra = {name: _like(open_data(path, None), rows, name) for name, path in more.items()}
    result = run(start, end, rows, retrain=retrain, extra=extra, inference=inference, **choices)
    with atomic_directory(out, force=force) as folder:
        record = write(folder, result, output, seed)
    output.show(record, lambda: print_report(result, story(result), f"the repaired model and the report: {out}"))


command = with_numbers(repair, selector_numbers() | retraining_numbers())


def write(folder: Path, result: "Repair", output: Output, seed: int) -> dict[str, Any]:
    """Write the repaired model, the calibrator, the page and the record into a folder; returns the record."""
    from reclaim.calibration.files import save_calibrator
    from reclaim.cli.repair_output import write_report
    from reclaim.models.directory import save_model
    from reclaim.report.story import story

    save_model(folder, result.model)
    save_calibrator(folder / "calibrator.json", result.offset)
    return write_report(folder, result, story(result), output, seed=seed, bias=result.bias)


def _like(data: "Data", rows: "Data", kind: str) -> "Data":
    """More data over the same classes, with the same ones seen. Of unlabelled data, no label or folder name counts."""
    if kind == "unlabelled":
        nameless = {
            name: replace(split, labels=split.labels.new_zeros(len(split))) for name, split in data.splits.items()
        }
        return replace(rows, splits=nameless, source=data.source)
    return replace(data.over(rows.classes), seen=rows.seen)
