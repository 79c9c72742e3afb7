"""Fit a calibrator on a snapshot."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclaim.cli.arrays import Arrays
from reclaim.cli.flags import Output, record_of
from reclaim.cli.method_flags import family
from reclaim.cli.naming import called
from reclaim.cli.offset import logit_offset
from reclaim.cli.places import take
from reclaim.core.errors import Argument, BadInput
from reclaim.core.numbers import Share
from reclaim.core.registry import find
from reclaim.core.several import rank
from reclaim.core.terminal import console, say

if TYPE_CHECKING:
    from reclaim.snapshots.snapshot import Snapshot

__all__ = ["command"]


def calibrate(
    name: str,
    snapshot: Path,
    *,
    out: Path | None = None,
    after: Path | None = None,
    held_out: Path | None = None,
    from_probabilities: bool = False,
    floor: Share = 0.0,
    seen_rows: bool = False,
    arrays: Arrays = Arrays(),
    classes: Path | None = None,
    force: bool = False,
    output: Output = Output(),
    **numbers: Any,
) -> None:
    """{summary}.

    Args:
        snapshot: held-out rows of seen classes that no model was trained on.
        out: the file to write the calibrator to.
        after: a calibrator to apply first; the file written then holds both, as a chain.
        held_out: answers on rows that are surely held out; warns if those of `snapshot` look like training rows.
        from_probabilities: the file holds probabilities; their logarithm is taken.
        floor: with --from-probabilities, the probability that stands for smaller ones, zeros above all.
        seen_rows: leave out rows of absent classes.
        classes: of logits from elsewhere: a file that names the columns, one per line, in order.
        force: replace a file that exists.
    """
    from reclaim.calibration.calibrators.chain import Chain
    from reclaim.calibration.doubts import doubts
    from reclaim.calibration.files import calibrator_record, load_calibrator, save_calibrator
    from reclaim.core.files import together, write_json

    if out is not None and not rank():
        reads = (snapshot, after, held_out, classes, *arrays.reads)
        take(out, record_of(out), folder=False, force=force, reads=reads, suffixes=(".json",))
    if floor and not from_probabilities:
        raise BadInput("--floor is for probabilities; say --from-probabilities too.")
    with called(logits=("from_probabilities",)):
        whole = arrays.open(snapshot, classes, probabilities=from_probabilities, floor=floor)
    rows = _rows(whole, snapshot, arrays, seen_rows=seen_rows)
    others = replace(arrays, labels=None)
    warnings = doubts(rows, others.open(held_out, classes, alone=False) if held_out else None)
    for warning in warnings if not rank() else ():
        say(f"reclaim: {warning}")
    first = load_calibrator(after) if after is not None else None
    if first is not None:
        rows = rows.through(first)
    lacks: dict[str, tuple[str, ...]] = dict.fromkeys(("before", "unlabelled", "source", "labelled"), ())
    with called(seen=("seen_rows", "all_classes"), **lacks):
        fitted = find("calibrators", name).fit(rows, **numbers)
    made = fitted if first is None else Chain((first, fitted))
    record = calibrator_record(made)
    if out is not None and not rank():
        with together(out):
            record = save_calibrator(out, made)
            write_json(record_of(out), output.run_record(**numbers))
    head = f"{name} on {len(rows)} rows" + (f": {out}" if out else "")
    output.show(record | ({"warnings": warnings} if warnings else {}), lambda: _print(head, fitted, rows))


def _rows(rows: "Snapshot", path: Path, arrays: Arrays, *, seen_rows: bool) -> "Snapshot":
    """The rows of a file to fit on."""
    if rows.labels is None:
        raise BadInput(f"{path} has no labels; a calibrator needs labelled rows.", Argument("labels", "give them"))
    if seen_rows and arrays.all_classes:
        raise BadInput("say either --seen-rows or --all-classes.")
    return rows.seen_rows() if seen_rows else rows


def _print(head: str, fitted: Any, rows: "Snapshot") -> None:
    from reclaim.calibration.files import calibrator_record
    from reclaim.snapshots.metrics.confidence import confidence_of
    from reclaim.snapshots.metrics.row_scores import row_scores

    before, made = (confidence_of(row_scores(x.logits, x.known_labels)) for x in (rows, rows.through(fitted)))
    page = console()
    page.print(head)
    own = calibrator_record(fitted)
    if temperature := own.get("temperature"):
        page.print(f"temperature {temperature:.4f}")
    if guarantee := own.get("guarantee"):
        page.print(f"offset {own['offset']:.4f}; {guarantee}")
    page.print(
        f"on these rows, which flatter it: negative log-likelihood {before.nll:.3f} -> {made.nll:.3f}, "
        f"calibration error {before.ece:.3f} -> {made.ece:.3f}"
    )
    if note := fitted.fitted.details.get("note"):
        page.print(f"note: {note}")


command = family("calibrators", calibrate, leave_out=("chain", "logit-offset"))
command.command(logit_offset, name="logit-offset")
