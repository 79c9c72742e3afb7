"""``reclaim repair``."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reclaim.cli.arrays import Arrays
from reclaim.cli.choices import Adapters, More, choice_flags, choices_given
from reclaim.cli.flags import Heads, Inputs, Output, Reading, device_for, open_data
from reclaim.cli.method_flags import with_numbers
from reclaim.cli.naming import named
from reclaim.cli.places import take
from reclaim.cli.retraining import recipe_of
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.repairs.choices import BY_RETRAINING, Choices

if TYPE_CHECKING:
    from reclaim.data.records import Data
    from reclaim.models.classifier import Classifier
    from reclaim.repairs.result import Repair
    from reclaim.repairs.rows import MoreEvidence

__all__ = ["command"]


@with_numbers(choice_flags())
def command(
    *,
    before: str | None = None,
    after: str,
    out: Path,
    data: str | None = None,
    arrays: Arrays = Arrays(),
    more: More = More(),
    report: str | None = None,
    reading: Reading = Reading(),
    prepare: Literal["before", "after"] | None = None,
    heads: Heads = Heads(),
    adapters: Adapters = Adapters(),
    inputs: Inputs = Inputs(),
    inference: Annotated[Inference, Parameter(name="*")] = Inference(),
    force: bool = False,
    output: Output = Output(),
    **flags: Any,
) -> None:
    """Repair a fine-tuned model without labels of absent classes: mix the weights, choose the offset, fold it in.

    Writes the repaired model in the format it came in, calibrator.json, report.html and run.json. Given snapshots of
    two models instead, of any architectures, it mixes their answers and writes mixture.json for `reclaim apply`.

    Args:
        before: the pretrained model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory; or its snapshot.
            An adapter may name it itself.
        after: the fine-tuned model, of the same architecture, or an adapter's folder; or its snapshot of the same rows.
            Its head may be for its own classes only: the two are then joined by name, and the union is answered.
        data: the target domain: class folders, a table or a folder of them, tars, or "digits-shifted". Rows of
            seen classes in val/ choose and test/ reports; with one split, a part of it chooses and the rest reports.
            Snapshots need none.
        out: the directory to write.
        report: two more snapshots, BEFORE,AFTER, of rows to report on; all of the first two may then choose.
        prepare: whose way of preparing images is right, where the two models are on record with different ones.
        force: replace a directory that exists.
    """
    from reclaim.cli.repair_output import print_repair, write_repair
    from reclaim.cli.snapshots import repair_snapshots, snapshots_given
    from reclaim.core.files import atomic_directory
    from reclaim.core.notes import noted
    from reclaim.repairs.models import repair as run

    choices, before = choices_given(flags), before or _base_of(after)
    of_models = _of_models(data, reading, prepare, heads, adapters, inputs, inference, choices)
    reads = (before, after, report, adapters.initial, *arrays.reads)
    take(out, folder=True, force=force, reads=reads, data=(data, *more.places.values()))
    with noted() as notes:
        if snapshots_given(before, after, of_models, _of_snapshots(report, arrays)):
            done: Repair[Any] = repair_snapshots(before, after, choices, more.places, report, arrays, inputs.classes)
        else:
            place = _given(data)
            how = _how(after, prepare, adapters, inference, choices)
            models = _opened(before, after, heads, inputs, adapters.initial)
            rows = _target(place, arrays.seen, models, reading, output)
            said = rows.seen_classes if arrays.seen is not None else None
            done = run(*models, rows, choices, seen=said, evidence=_more(more.places, rows, reading, output), **how)
    with atomic_directory(out, force=force) as folder:
        record = write_repair(folder, done, output, choices.seed, **notes)
    output.show(record, lambda: print_repair(done, out))


def _base_of(after: str) -> str:
    """The pretrained model, where `after` is an adapter that names it."""
    from reclaim.models.adapter_files import base_of, is_adapter

    if not is_adapter(Path(after)):
        raise BadInput("missing: --before.")
    return base_of(Path(after))


def _opened(
    before: str, after: str, heads: Heads, inputs: Inputs, initial: Path | None
) -> tuple["Classifier", "Classifier"]:
    """Both models, of which the one that is written can be with an offset in its head."""
    from reclaim.models.directory import check_takes_offset
    from reclaim.models.union import heads_differ

    models = heads.open(before, after, inputs, initial)
    check_takes_offset(models[0] if heads_differ(*models) else models[1])
    return models


def _of_snapshots(report: str | None, arrays: Arrays) -> dict[str, bool]:
    """The flags that only snapshots take, and whether they were given."""
    labels, every = arrays.labels is not None, arrays.all_classes
    return {"--report": report is not None, "--labels": labels, "--all-classes": every}


def _how(
    after: str, prepare: Literal["before", "after"] | None, adapters: Adapters, inference: Inference, choices: Choices
) -> dict[str, Any]:
    """How a repair of models is run; noted for the record, after a look whether there is such a device."""
    from reclaim.core.notes import note

    note("device", device_for(inference.device))
    note("precision", inference.precision)
    retrain = recipe_of(after, inference) if choices.select == BY_RETRAINING else None
    return {"prepare": prepare, "result": adapters.result, "inference": inference, "retrain": retrain}


def _given(data: str | None) -> str:
    if data is None:
        raise BadInput("two models are repaired by data: say --data DATA. Two snapshots need none.")
    return data


def _of_models(
    data: str | None,
    reading: Reading,
    prepare: str | None,
    heads: Heads,
    adapters: Adapters,
    inputs: Inputs,
    inference: Inference,
    choices: Choices,
) -> dict[str, bool]:
    """The flags that only models take, and whether they were given."""
    return {
        "--data": data is not None,
        "--skip-bad": reading.skip_bad,
        ", ".join(map(named, reading.said)) or "--group-column": bool(reading.said),
        "--image-size, --mean, --std, --head or --weights": replace(inputs, upright=False, classes=None) != Inputs(),
        "--upright": inputs.upright,
        "--device, --precision, --batch-size or --workers": inference != Inference(),
        "--prepare": prepare is not None,
        "--result": adapters.result is not None,
        "--initial": adapters.initial is not None,
        "--before-classes or --after-classes": heads != Heads(),
        f"--select {BY_RETRAINING}": choices.select == BY_RETRAINING,
    }


def _target(
    place: str, seen: str | None, models: "tuple[Classifier, Classifier]", reading: Reading, output: Output
) -> "Data":
    """The data of the target domain, over the classes of the fine-tuned model where it has more.

    Heads that differ say themselves which classes are seen, and the repair which the data are over.
    """
    from reclaim.models.head import settled
    from reclaim.models.union import heads_differ

    after = models[1]
    rows = open_data(place, seen, after, reading=reading, output=output)
    if heads_differ(*models):
        return rows
    if seen is None and after.seen is None and "train" not in rows.splits:
        raise BadInput(
            "which classes did the fine-tuning have? Neither the model nor the data say.\n"
            "  Say --seen FILE, with one name per line, or --seen NAME,NAME,…"
        )
    if bool(rows.seen.all()):  # the data have no absent class: take those that only the model knows
        return rows.over(settled(after, rows).classes)
    return rows


def _more(places: Mapping[str, str], rows: "Data", reading: Reading, output: Output) -> "MoreEvidence[Data]":
    """More data over the same classes, with the same ones seen. Of unlabelled data, no label or folder name counts."""
    from reclaim.data.places import has_columns
    from reclaim.repairs.rows import MoreEvidence

    more = {}
    for kind, place in places.items():
        own = replace(reading, group_column=None) if has_columns(place) else Reading(reading.skip_bad)
        data = open_data(place, None, reading=own, output=output, labelled=kind != "unlabelled")
        if kind == "unlabelled":
            splits = {name: replace(split, labels=0 * split.labels) for name, split in data.splits.items()}
            more[kind] = replace(rows, splits=splits, source=data.source)
        else:
            more[kind] = replace(data.over(rows.classes), seen=rows.seen)
    return MoreEvidence(**more)
