"""``reclaim predict``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, Reading, device_for, open_data, open_model, record_of
from reclaim.cli.places import take
from reclaim.core.inference import Inference
from reclaim.core.numbers import Within
from reclaim.core.terminal import console


def command(
    *,
    model: str,
    data: str,
    split: str,
    out: Path,
    seen: str | None = None,
    columns: Literal["data", "model"] = "data",
    features: Annotated[bool, Parameter(negative="--no-features")] = True,
    half: bool = False,
    shard_size: Annotated[float, Within(0, 2**20, inner=True)] = 5.0,
    reading: Reading = Reading(),
    inputs: Inputs = Inputs(),
    inference: Annotated[Inference, Parameter(name="*")] = Inference(),
    force: bool = False,
    output: Output = Output(),
) -> None:
    """Run a model over a split and keep its answers as a snapshot: logits, labels, features, class names.

    Args:
        model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory.
        data: class folders, a table or a folder of them, tars, a hub's dataset, or "digits".
        split: "train", "val", "test", or "all" where the data have no splits.
        out: the snapshot file to write.
        seen: the classes that the fine-tuning had: a file with one per line, or names joined by commas. By default
            those the model's directory names, or those of the training split.
        columns: the classes that compete: those of the data, or all of the model's.
        features: keep the inputs of the last layer too.
        half: store in half precision.
        shard_size: in GiB; a larger snapshot is written as several files with an index.
        force: replace a file that exists.
    """
    from reclaim.core.files import write_json
    from reclaim.core.notes import noted
    from reclaim.core.several import at_work, rank
    from reclaim.models.head import settled
    from reclaim.models.predict import predict
    from reclaim.snapshots.index import index_of

    if not rank():
        files, right = (out, record_of(out), index_of(out)), (".safetensors",)
        take(*files, folder=False, force=force, reads=(model,), data=(data,), suffixes=right)
    where = device_for(inference.device)
    network = open_model(model, inputs)
    rows = open_data(data, seen, network, reading=reading, output=output)
    network = settled(network, rows)
    if columns == "model":
        rows = rows.over(network.classes)
    size = int(shard_size * 2**30)
    with noted() as notes, at_work(inference.device) as us:
        made = predict(
            network, rows, split, out=out, features=features, half=half, shard_size=size, inference=inference
        )
    about = {"device": where, "precision": inference.precision, "processes": us.count, **notes}
    if us.first:
        write_json(record_of(out), output.run_record(rows=len(made), classes=len(made.classes), **about))
    record = {"out": str(out), "rows": len(made), "classes": len(made.classes), "seen": int(made.seen.sum())}
    output.show(record, lambda: console().print(f"{len(made)} rows, {len(made.classes)} classes: {out}"))
