"""``reclaim evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING

from reclaim.cli.arrays import Arrays
from reclaim.cli.flags import Output
from reclaim.core.errors import BadInput
from reclaim.core.terminal import console, say

if TYPE_CHECKING:
    from reclaim.calibration.protocol import Fitted
    from reclaim.snapshots.snapshot import Snapshot


def command(
    snapshot: Path,
    *,
    calibrator: Path | None = None,
    same_split: bool = False,
    arrays: Arrays = Arrays(),
    classes: Path | None = None,
    output: Output = Output(),
) -> None:
    """Accuracy per group of classes, the trade-off and confidence of a snapshot, with 95 % intervals.

    With --json also how far the confidence can be trusted, of all rows and of either group: every estimator, the parts
    of the Brier score, and the points of a reliability diagram.

    Args:
        snapshot: a file that `reclaim predict` wrote, or logits in an array or a table.
        calibrator: apply this first.
        same_split: judge a calibrator even on the rows that fitted it; the numbers then flatter it.
        classes: of logits from elsewhere: a file that names the columns, one per line, in order.
    """
    from reclaim.calibration.files import load_calibrator
    from reclaim.cli.tables import accuracy_table
    from reclaim.report.evaluate import evaluate
    from reclaim.report.reliability import reliability

    rows = arrays.open(snapshot, classes)
    if calibrator is not None:
        fitted = load_calibrator(calibrator)
        if not same_split:
            _check_apart(fitted.fitted, rows, f"{calibrator}", f"{snapshot}")
        rows = rows.through(fitted)
    found = evaluate(rows)

    def table() -> None:
        accuracy_table({snapshot.stem: found})
        page = console()
        best, near = found.tradeoff.best_all, found.tradeoff.best_offset
        if best is not None:
            page.print(f"ceiling on these rows: {100 * best:.1f} % over all classes, near offset {near:.2f}")
        page.print(
            f"confidence: negative log-likelihood {found.confidence.nll:.3f}, "
            f"Brier score {found.confidence.brier:.3f}, calibration error {found.confidence.ece:.3f}"
        )
        errors = {
            "on seen rows": found.confidence_by_group["seen"].ece,
            "on absent rows": found.confidence_by_group["absent"].ece,
            "of the question whether a row is absent": found.group_question.ece,
        }
        if all(error is not None for error in errors.values()):
            page.print("calibration error " + ", ".join(f"{error:.3f} {where}" for where, error in errors.items()))

    more = {"reliability": reliability(rows).record()} if output.json else {}  # a second more of 50,000 x 1,000 logits
    output.show(found.record() | more, table)


def _check_apart(fitted: "Fitted", rows: "Snapshot", calibrator: str, snapshot: str) -> None:
    """Raise if the rows are those that fitted a calibrator; of rows without a name, which may be no file's, say it."""
    from reclaim.snapshots.identity import shared_rows

    same = rows.origin and fitted.origin == rows.origin
    if not same and not shared_rows(fitted.row_identities, rows.identities()):
        return
    where = f"{rows.origin}, the rows" if same else f"{fitted.origin or 'rows'} that are by their logits those"
    what = f"{calibrator} was fitted on {where} of {snapshot} itself, and would be flattered."
    if not rows.origin:
        say(f"reclaim: {what} Judge it on others.")
        return
    raise BadInput(f"{what}\n  Judge it on another split, or say --same-split.")
