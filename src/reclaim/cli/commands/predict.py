"""``reclaim predict``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, device_for, open_data, open_model, record_of
from reclaim.core.inference import Inference


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
    shard_size: float = 5.0,
    skip_bad: bool = False,
    inputs: Inputs = Inputs(),
    inference: Annotated[Inference, Parameter(name="*")] = Inference(),
    force: bool = False,
    output: Output = Output(),
) -> None:
    """Run a model over a split and keep its answers as a snapshot: logits, labels, features, class names.

    Args:
        model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory.
        data: a folder of class folders, an .npz or Parquet file, or "digits".
        split: "train", "val", "test", or "all" where the data have no splits.
        out: the snapshot file to write.
        seen: the classes that the fine-tuning had: a file with one per line, or names joined by commas. By default
            those the model's directory names, or those of the training split.
        columns: the classes that compete: those of the data, or all of the model's.
        features: keep the inputs of the last layer too.
        half: store in half precision.
        shard_size: in GiB; a larger snapshot is written as several files with an index.
        skip_bad: leave out examples that cannot be read, and list them.
        force: replace a file that exists.
    """
    from rich.console import Console

    from reclaim.core.files import check_free, write_json
    from reclaim.core.notes import noted
    from reclaim.models.head import settled
    from reclaim.models.predict import predict
    from reclaim.snapshots.index import index_of

    check_free(out, force=force)
    check_free(record_of(out), force=force)
    check_free(index_of(out), force=force)
    where = device_for(inference.device)
    network = open_model(model, inputs)
    rows = open_data(data, seen, network, skip_bad=skip_bad)
    network = settled(network, rows)
    if columns == "model":
        rows = rows.over(network.classes)
    size = int(shard_size * 2**30)
    with noted() as notes:
        made = predict(
            network, rows, split, out=out, features=features, half=half, shard_size=size, inference=inference
        )
    about = {"device": where, "precision": inference.precision, **notes}
    write_json(record_of(out), output.run_record(rows=len(made), classes=len(made.classes), **about))
    record = {"out": str(out), "rows": len(made), "classes": len(made.classes), "seen": int(made.seen.sum())}
    output.show(record, lambda: Console().print(f"{len(made)} rows, {len(made.classes)} classes: {out}"))
