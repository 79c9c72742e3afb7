"""Merge models in weight space."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, Reading, device_for, open_data, open_model
from reclaim.cli.method_flags import family
from reclaim.cli.places import take
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.registry import find
from reclaim.core.terminal import console, say


def merge(
    name: str,
    *,
    before: str,
    after: str,
    out: Path,
    data: str | None = None,
    seen: str | None = None,
    reading: Reading = Reading(),
    prepare: Literal["before", "after"] | None = None,
    inputs: Inputs = Inputs(),
    inference: Annotated[Inference, Parameter(name="*")] = Inference(),
    force: bool = False,
    output: Output = Output(),
    **numbers: Any,
) -> None:
    """{summary}.

    Args:
        before: the pretrained model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory.
        after: the fine-tuned model, of the same architecture.
        out: the model directory to write.
        data: rows of seen classes to measure batch norm's running statistics on, where the two models' differ.
        seen: the seen classes: a file with one per line, or names joined by commas.
        prepare: whose way of preparing images is right, where the two models are on record with different ones.
        force: replace a directory that exists.
    """
    from reclaim.cli.model_output import write_model
    from reclaim.core.files import atomic_directory, write_json
    from reclaim.models.batch_norm import measure_again, statistics_differ
    from reclaim.models.pairs import paired
    from reclaim.models.union import check_same_heads

    take(out, folder=True, force=force, reads=(before, after), data=(data,))
    where = device_for(inference.device)
    if inference.precision != "float32":
        raise BadInput("weights are merged and running statistics measured in float32: leave out --precision.")
    start, end = paired(open_model(before, inputs), open_model(after, inputs), prepare)
    check_same_heads(start, end)
    if start.classes and end.classes:
        start = start.reordered(end.classes)
    merged = end.with_weights(find("merges", name)(start.weights, end.weights, **numbers))
    stale = statistics_differ(start.weights, end.weights)
    if stale and data is not None:
        rows = open_data(data, seen, end, reading=reading, output=output)
        merged = measure_again(
            merged, rows.seen_only("train" if "train" in rows.splits else next(iter(rows.splits))), inference
        )
    with atomic_directory(out, force=force) as folder:
        told = ", ".join(f"{key} {value}" for key, value in numbers.items())
        write_model(folder, merged, [("Merging", f"{name}{told and ': '}{told}.")])
        write_json(folder / "run.json", output.run_record(device=where, **numbers))
    note = (
        "batch norm's running statistics were merged too; measure them again with --data" if stale and not data else ""
    )
    if note:
        say(note)
    output.show({"out": str(out), "note": note or None}, lambda: console().print(f"the model: {out}"))


command = family("merges", merge)
