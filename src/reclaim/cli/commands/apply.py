"""``reclaim apply``."""

from pathlib import Path
from typing import TYPE_CHECKING

from reclaim.cli.arrays import Arrays
from reclaim.cli.flags import Inputs, Output, open_model, record_of
from reclaim.cli.places import take
from reclaim.core.errors import BadInput
from reclaim.core.terminal import console

if TYPE_CHECKING:
    from reclaim.calibration.protocol import Calibrator
    from reclaim.models.classifier import Classifier


def command(
    calibrator: Path,
    snapshot: Path | None = None,
    *,
    out: Path,
    model: str | None = None,
    before: Path | None = None,
    arrays: Arrays = Arrays(),
    inputs: Inputs = Inputs(),
    force: bool = False,
    output: Output = Output(),
) -> None:
    """Fold a calibrator into a model's last layer, or apply it to a snapshot.

    Args:
        calibrator: a file that `reclaim calibrate` wrote, or the mixture.json of `reclaim repair`.
        snapshot: the snapshot to apply it to.
        out: the model directory, or the snapshot file, to write.
        model: the model to fold it into.
        before: for a mixture.json: the pretrained model's snapshot of the same rows.
        force: replace what exists.
    """
    from reclaim.calibration.files import load_calibrator
    from reclaim.core.files import together, write_json
    from reclaim.repairs.files import load_mixture
    from reclaim.snapshots.index import index_of
    from reclaim.snapshots.writing import save_snapshot

    if (model is None) == (snapshot is None):
        raise BadInput("say what to apply the calibrator to: either a SNAPSHOT or --model MODEL.")
    if before is not None and snapshot is None:
        raise BadInput("--before goes with a mixture.json and the fine-tuned model's SNAPSHOT, not with --model.")
    reads = (calibrator, snapshot, model, before, *arrays.reads)
    if snapshot is None and arrays != Arrays():
        raise BadInput("--labels, --seen and --all-classes tell of a SNAPSHOT, not of --model.")
    if snapshot is not None:
        take(out, record_of(out), index_of(out), folder=False, force=force, reads=reads, suffixes=(".safetensors",))
    else:
        take(out, folder=True, force=force, reads=reads)
    if snapshot is not None:
        rows = arrays.open(snapshot, inputs.classes, alone=before is None)
        if before is None:
            made = rows.through(load_calibrator(calibrator))
        else:
            made = load_mixture(calibrator).of(arrays.open(before, inputs.classes, alone=False), rows)
        with together(out):
            save_snapshot(out, made)
            write_json(record_of(out), output.run_record())
    elif model is not None:
        _fold(load_calibrator(calibrator), open_model(model, inputs), out, force, output)
    what = "the snapshot" if snapshot is not None else "the model"
    output.show({"out": str(out)}, lambda: console().print(f"{what}: {out}"))


def _fold(fitted: "Calibrator", model: "Classifier", out: Path, force: bool, output: Output) -> None:
    from reclaim.calibration.folding import affine_to_fold
    from reclaim.cli.model_output import write_model
    from reclaim.core.files import atomic_directory, write_json
    from reclaim.core.joining import say_if_of_another
    from reclaim.models.directory import check_takes_offset
    from reclaim.models.head import fold, goes_on
    from reclaim.models.identity import identity

    if goes_on(model):
        raise BadInput(
            f"the network {model.name!r} goes on after its last layer, so no change of that layer is this calibrator.\n"
            "  `reclaim repair` finds the change that costs as many held-out rows."
        )
    check_takes_offset(model)
    say_if_of_another(fitted.fitted, identity(model.weights))
    with atomic_directory(out, force=force) as folder:
        done = [("Calibration", f"{type(fitted).__name__} was folded into the head.")]
        write_model(folder, fold(model, affine_to_fold(fitted, model.classes)), done)
        write_json(folder / "run.json", output.run_record())
