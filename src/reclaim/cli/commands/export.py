"""``reclaim export``."""

from pathlib import Path
from typing import Literal

from reclaim.cli.flags import Inputs, Output, open_model, record_of
from reclaim.cli.places import take
from reclaim.core.terminal import console


def command(
    *,
    to: Literal["onnx"],
    out: Path,
    model: str | None = None,
    calibrator: Path | None = None,
    inputs: Inputs = Inputs(),
    force: bool = False,
    output: Output = Output(),
) -> None:
    """Write a model, a calibrator, or a model with its calibrator behind it as one file for serving.

    A model takes preprocessed images [N, channels, height, width], a calibrator alone logits [N, classes]; both answer
    logits and probabilities, for any N. The file's metadata hold the class names and the preprocessing. Its answers
    are compared with torch's before it gets its name.

    Args:
        to: the format.
        out: the file to write.
        model: the network.
        calibrator: a file that `reclaim calibrate` wrote; not one that is folded into the model already.
        force: replace what exists.
    """
    from reclaim.bridges.export import export_onnx
    from reclaim.bridges.onnx import check_extra
    from reclaim.calibration.files import load_calibrator
    from reclaim.core.files import together, write_json

    take(out, record_of(out), folder=False, force=force, reads=(model, calibrator), suffixes=(".onnx",))
    check_extra()
    network = None if model is None else open_model(model, inputs)
    fitted = None if calibrator is None else load_calibrator(calibrator)
    with together(out):
        difference = export_onnx(out, network, fitted)
        write_json(record_of(out), output.run_record(difference=difference))
    record = {"out": str(out), "format": to, "difference": difference}
    output.show(record, lambda: console().print(f"{to}: {out} (answers as torch does, to {difference:.0e})"))
