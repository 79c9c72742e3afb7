"""What `reclaim repair` writes and prints of a repair, of models or of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from reclaim.calibration.files import calibrator_record
from reclaim.cli.flags import Output
from reclaim.cli.tables import accuracy_table, mixing_table
from reclaim.core.files import write_json
from reclaim.repairs.answers import AnswersRepair
from reclaim.repairs.models import Repair
from reclaim.report.diagnose import diagnose
from reclaim.report.evaluate import evaluate
from reclaim.report.page.render import render

__all__ = ["print_report", "write_report"]

Story = Sequence[tuple[str, str]]


def write_report(
    folder: Path, result: Repair | AnswersRepair, story: Story, output: Output, **more: Any
) -> dict[str, Any]:
    """Write the page and the record, with `more` in it, into a folder; returns the record."""
    shown = _shown(result)
    findings = diagnose(result.before, result.after)
    page = render(shown, findings, story=story, mix=result.mix)
    (folder / "report.html").write_text(page, encoding="utf-8")
    record = output.run_record(
        mix=asdict(result.mix),
        **{key: value for key, value in calibrator_record(result.offset).items() if key not in ("classes", "seen")},
        **more,
        **{name: evaluate(snapshot).record() for name, snapshot in shown.items()},
        findings=[asdict(finding) for finding in findings],
    )
    write_json(folder / "run.json", record)
    return record


def print_report(result: Repair | AnswersRepair, story: Story, end: str) -> None:
    """Print accuracies, the weights that were tried, the story, and the last line."""
    rows = {name: evaluate(snapshot) for name, snapshot in _shown(result).items()}
    accuracy_table(rows, title=f"{len(result.repaired)} rows that chose nothing")
    console = Console(highlight=False, soft_wrap=True)
    if (ceiling := rows["after"].tradeoff.best_all) is not None:
        console.print(f"ceiling of an offset on the fine-tuned model alone, on these rows: {100 * ceiling:.1f} %")
    if result.mix.tried:
        mixing_table(result.mix)
    for term, sentence in story:
        console.print(f"[bold]{term}[/bold]: {sentence}")
    console.print(end)


def _shown(result: Repair | AnswersRepair) -> dict[str, Any]:
    return {"before": result.before, "after": result.after, "repaired": result.repaired}
