"""``reclaim report``."""

from pathlib import Path
from typing import Literal

from reclaim.cli.arrays import Arrays
from reclaim.cli.commands.diagnose import with_model
from reclaim.cli.flags import Output, record_of
from reclaim.cli.places import take
from reclaim.core.terminal import console


def command(
    before: Path,
    after: Path,
    *,
    out: Path,
    calibrator: list[Path] | None = None,
    before_model: str | None = None,
    after_model: str | None = None,
    weights: Literal["raw", "averaged"] | None = None,
    arrays: Arrays = Arrays(),
    classes: Path | None = None,
    force: bool = False,
    output: Output = Output(),
) -> None:
    """Write the page: accuracies, the trade-off curve and the diagnosis of two snapshots of the same rows.

    Args:
        before: the pretrained model's snapshot.
        after: the fine-tuned model's.
        out: the HTML file to write.
        calibrator: show the fine-tuned model with this applied too; may be repeated.
        before_model: the pretrained model itself, to compare weights.
        after_model: the fine-tuned model itself.
        weights: of a checkpoint that holds raw and averaged weights, which to take; by default the averaged ones.
        classes: of logits from elsewhere: a file that names the columns, one per line, in order.
        force: replace a file that exists.
    """
    from reclaim.calibration.files import calibrator_record, load_calibrator
    from reclaim.core import disk
    from reclaim.core.files import atomic_file, together, write_json
    from reclaim.report.diagnose import diagnose
    from reclaim.report.page.render import render

    calibrators = calibrator or []
    reads = (before, after, before_model, after_model, classes, *arrays.reads, *calibrators)
    take(out, record_of(out), folder=False, force=force, reads=reads, suffixes=(".html", ".htm"))
    first, second = arrays.pair(before, after, classes)
    first, second = with_model(first, before, before_model, weights), with_model(second, after, after_model, weights)
    shown, story = {"before": first, "after": second}, []
    for path in calibrators:
        fitted = load_calibrator(path)
        name = "repaired" if len(calibrators) == 1 else path.stem
        shown[name] = second.through(fitted)
        story.append((name, calibrator_record(fitted).get("reason", "")))
    page = render(shown, diagnose(first, second), story=story)
    with together(out):
        with atomic_file(out) as temporary:
            disk.write_text(temporary, page)
        write_json(record_of(out), output.run_record())
    output.show({"out": str(out)}, lambda: console().print(f"the page: {out}"))
