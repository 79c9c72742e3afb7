"""``reclaim report``."""

from pathlib import Path
from typing import Literal

from reclaim.cli.commands.diagnose import with_model
from reclaim.cli.flags import Output


def command(
    before: Path,
    after: Path,
    *,
    out: Path,
    calibrator: list[Path] | None = None,
    before_model: str | None = None,
    after_model: str | None = None,
    weights: Literal["raw", "averaged"] | None = None,
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
        force: replace a file that exists.
    """
    from rich.console import Console

    from reclaim.calibration.files import calibrator_record, load_calibrator
    from reclaim.core.files import atomic_file, check_free, write_json
    from reclaim.report.diagnose import diagnose
    from reclaim.report.page.render import render

    check_free(out, force=force)
    first, second = with_model(before, before_model, weights), with_model(after, after_model, weights)
    shown, story = {"before": first, "after": second}, []
    for path in calibrator or []:
        fitted = load_calibrator(path)
        name = "repaired" if len(calibrator or []) == 1 else path.stem
        shown[name] = second.through(fitted)
        story.append((name, calibrator_record(fitted).get("reason", "")))
    page = render(shown, diagnose(first, second), story=story)
    with atomic_file(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_json(out.with_suffix(".run.json"), output.run_record())
    output.show({"out": str(out)}, lambda: Console().print(f"the page: {out}"))
