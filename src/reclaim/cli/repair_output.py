"""What `reclaim repair` writes and prints of a repair, of models or of answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from reclaim.calibration.files import calibrator_record, save_calibrator
from reclaim.cli.flags import Output
from reclaim.cli.model_output import write_model
from reclaim.cli.tables import accuracy_table, mixing_table
from reclaim.core import disk
from reclaim.core.files import write_json
from reclaim.core.terminal import console
from reclaim.repairs.files import save_mixture
from reclaim.repairs.mixtures import OutputMixture
from reclaim.repairs.result import Repair
from reclaim.report.answered import answered_record
from reclaim.report.diagnose import diagnose
from reclaim.report.evaluate import evaluate
from reclaim.report.page.render import render
from reclaim.report.story import sentences
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot

__all__ = ["print_repair", "write_repair"]

_LONG = ("classes", "seen", "row_identities")  # what calibrator.json has, and a record of the run need not


def write_repair(folder: Path, repair: Repair[Any], output: Output, seed: int, **about: Any) -> dict[str, Any]:
    """Write what was repaired, the page and the record into a folder; returns the record, which has `about` too."""
    if isinstance(repair.model, OutputMixture):
        save_snapshot(folder / "repaired.safetensors", repair.repaired)
        save_mixture(folder / "mixture.json", repair.model)
        own: dict[str, Any] = {"alpha": repair.alpha}
    else:
        write_model(folder, repair.model, sentences(repair), _shown(repair))
        save_calibrator(folder / "calibrator.json", repair.offset)
        own = {"bias": repair.bias}
        if (made := repair.stitch) is not None:
            own["heads"] = {"scale": made.scale, "tuned": len(made.tuned), "absent": made.absent, "new": list(made.new)}
    shown = _shown(repair)
    findings = diagnose(repair.before, repair.after if repair.stitch is None else repair.stitch.scaled)
    page = render(shown, findings, story=sentences(repair), mix=repair.mix)
    disk.write_text(folder / "report.html", page)
    record = output.run_record(
        mix=asdict(repair.mix),
        **{
            key: value
            for key, value in calibrator_record(repair.offset).items()
            if key not in ("classes", "seen", "row_identities")
        },
        seed=seed,
        **about,
        **own,
        **{name: evaluate(snapshot).record() for name, snapshot in shown.items()},
        findings=[asdict(finding) for finding in findings],
        answered=answered_record(repair.repaired),
    )
    write_json(folder / "run.json", record)
    return record


def print_repair(repair: Repair[Any], out: Path) -> None:
    """Print accuracies, the mixtures that were tried, what was done, and where it is."""
    rows = {name: evaluate(snapshot) for name, snapshot in _shown(repair).items()}
    accuracy_table(rows, title=f"{len(repair.repaired)} rows that chose nothing")
    page = console()
    ceiling = rows["after" if repair.stitch is None else "joined"].tradeoff.best_all
    if ceiling is not None and repair.stitch is not None:
        page.print(f"ceiling of an offset on the joined heads, unmixed, on these rows: {100 * ceiling:.1f} %")
    elif ceiling is not None:
        page.print(f"ceiling of an offset on the fine-tuned model alone, on these rows: {100 * ceiling:.1f} %")
    if repair.mix.tried:
        mixing_table(repair.mix)
    for term, sentence in sentences(repair):
        page.print(term, style="bold", end="")
        page.print(f": {sentence}")
    made = "mixture" if isinstance(repair.model, OutputMixture) else "repaired model"
    page.print(f"the {made} and the report: {out}")


def _shown(repair: Repair[Any]) -> dict[str, Snapshot]:
    """By the names that tables call them; of joined heads also what they answer unmixed and without an offset."""
    joined = {} if repair.stitch is None else {"joined": repair.stitch.scaled}
    return {"before": repair.before, "after": repair.after, **joined, "repaired": repair.repaired}
