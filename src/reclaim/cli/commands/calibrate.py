"""``reclaim calibrate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from reclaim.cli.flags import Output
from reclaim.cli.method_flags import given_numbers, own_numbers, selector_numbers, with_numbers
from reclaim.cli.naming import called
from reclaim.core.errors import BadInput
from reclaim.core.registry import describe, find, names

if TYPE_CHECKING:
    from reclaim.snapshots.snapshot import Snapshot

command = App(name="calibrate", help="Fit a calibrator on a snapshot.")


def logit_offset(
    snapshot: Path,
    *,
    out: Path | None = None,
    select: str = "auto",
    before: Path | None = None,
    reference: Path | None = None,
    unlabelled: Path | None = None,
    source: Path | None = None,
    labelled: Path | None = None,
    force: bool = False,
    output: Output = Output(),
    **numbers: Any,
) -> None:
    """Choose the constant to add to the logits of absent classes.

    Args:
        snapshot: held-out rows of seen classes; rows of absent classes are left out unread, except by `labelled`.
        out: the file to write the calibrator to.
        select: the selector; `reclaim list selectors` describes them.
        before: the pretrained model's answers on the same rows.
        reference: answers of the model whose seen accuracy a budget protects, on the same rows; by default the
            snapshot itself.
        unlabelled: answers on rows of the target domain; their labels are not read.
        source: answers on labelled rows of all classes from the pretraining domain.
        labelled: answers on labelled rows of all classes from the target domain; with --select labelled it is the
            snapshot itself by default.
        force: replace a file that exists.
    """
    from rich.console import Console

    from reclaim.calibration.calibrators.logit_offset import LogitOffset
    from reclaim.calibration.evidence import Evidence
    from reclaim.calibration.files import calibrator_record, save_calibrator
    from reclaim.core.files import check_free, write_json
    from reclaim.snapshots.reading import load_snapshot

    given = given_numbers(select, numbers)
    if out is not None:
        check_free(out, force=force)
    rows = load_snapshot(snapshot)
    more = {"before": before, "reference": reference, "unlabelled": unlabelled, "source": source, "labelled": labelled}
    evidence = {name: load_snapshot(path) for name, path in more.items() if path is not None}
    if select == "labelled":
        evidence.setdefault("labelled", rows)
    chosen = LogitOffset.select(Evidence(seen=rows if rows.labels is not None else None, **evidence), select, given)
    record = calibrator_record(chosen) if out is None else save_calibrator(out, chosen)
    if out is not None:
        write_json(out.with_suffix(".run.json"), output.run_record())

    def table() -> None:
        console = Console(soft_wrap=True)
        console.print(f"offset {chosen.offset:.4f} for {len(chosen.seen) - sum(chosen.seen)} absent classes")
        console.print(f"{chosen.selector}: {chosen.reason}", highlight=False)
        console.print(f"guarantee: {chosen.guarantee or 'none'}", highlight=False)

    output.show(record, table)


command.command(with_numbers(logit_offset, selector_numbers()), name="logit-offset")


def _command(name: str) -> Any:
    def calibrate(
        snapshot: Path,
        *,
        out: Path | None = None,
        after: Path | None = None,
        held_out: Path | None = None,
        from_probabilities: bool = False,
        floor: float = 0.0,
        seen_rows: bool = False,
        all_classes: bool = False,
        force: bool = False,
        output: Output = Output(),
        **numbers: Any,
    ) -> None:
        """Fit a calibrator.

        Args:
            snapshot: held-out rows of seen classes that no model was trained on.
            out: the file to write the calibrator to.
            after: a calibrator to apply first; the file written then holds both, as a chain.
            held_out: answers on rows that are surely held out; warns if those of `snapshot` look like training rows.
            from_probabilities: the file holds probabilities; their logarithm is taken.
            floor: with --from-probabilities, the probability that stands for smaller ones, zeros above all.
            seen_rows: leave out rows of absent classes.
            all_classes: the rows hold every class, absent ones too: calibrate all of them, as one group.
            force: replace a file that exists.
        """
        import sys
        from dataclasses import replace

        from rich.console import Console

        from reclaim.calibration.calibrators.chain import Chain
        from reclaim.calibration.files import calibrator_record, load_calibrator, save_calibrator
        from reclaim.core.files import check_free, write_json
        from reclaim.snapshots.reading import load_snapshot

        if out is not None:
            check_free(out, force=force)
        rows = load_snapshot(snapshot)
        if from_probabilities:
            rows = _logarithm(rows, floor)
        elif floor:
            raise BadInput("--floor is for probabilities; say --from-probabilities too.")
        if rows.labels is None:
            raise BadInput(f"{snapshot} has no labels; a calibrator needs labelled rows.")
        if seen_rows and all_classes:
            raise BadInput("say either --seen-rows or --all-classes.")
        rows = rows.seen_rows() if seen_rows else rows
        rows = replace(rows, seen=rows.seen.new_ones(len(rows.seen)), finite=True) if all_classes else rows
        doubts = _doubts(rows, load_snapshot(held_out) if held_out else None)
        for doubt in doubts:
            sys.stderr.write(f"reclaim: {doubt}\n")
        first = load_calibrator(after) if after is not None else None
        if first is not None:
            rows = rows.through(first)
        with called(seen=("seen_rows", "all_classes"), logits=("from_probabilities",)):
            fitted = find("calibrators", name).fit(rows.logits, rows.labels, rows.seen, **numbers)
        fitted = replace(fitted, classes=rows.classes, fitted_on=rows.origin)
        whole = fitted if first is None else Chain((first, fitted))
        record = calibrator_record(whole) if out is None else save_calibrator(out, whole)
        if out is not None:
            write_json(out.with_suffix(".run.json"), output.run_record(**numbers))

        def table() -> None:
            from reclaim.report.evaluate import evaluate

            console = Console(soft_wrap=True, highlight=False)
            console.print(f"{name} on {len(rows)} rows" + (f": {out}" if out else ""))
            if getattr(fitted, "temperature", None):
                console.print(f"temperature {fitted.temperature:.4f}")
            if getattr(fitted, "guarantee", None):
                console.print(f"offset {fitted.offset:.4f}; {fitted.guarantee}")
            before, made = (evaluate(x).confidence for x in (rows, rows.through(fitted)))
            console.print(
                f"on these rows, which flatter it: negative log-likelihood {before.nll:.3f} -> {made.nll:.3f}, "
                f"calibration error {before.ece:.3f} -> {made.ece:.3f}"
            )
            if note := fitted.details.get("note"):
                console.print(f"note: {note}")

        output.show(record | ({"warnings": doubts} if doubts else {}), table)

    calibrate.__doc__ = f"{describe('calibrators', name).summary}.{(calibrate.__doc__ or '').partition('.')[2]}"
    return with_numbers(calibrate, own_numbers("calibrators", name))


def _logarithm(rows: "Snapshot", floor: float) -> "Snapshot":
    """A snapshot of probabilities as one of logits."""
    from reclaim.core.arrays import row_blocks

    zeros, first = 0, ""
    for block in row_blocks(rows.logits):
        p = rows.logits[block]
        sums = p.sum(dim=1).double()
        if len(wrong := ((p < 0).any(dim=1) | ((sums - 1).abs() > 1e-2)).nonzero().squeeze(1)):
            row, sum_ = block.start + int(wrong[0]), float(sums[wrong[0]])
            raise BadInput(f"row {row} holds no probabilities: they sum to {sum_:.4g}, or one is negative.")
        if floor <= 0 and len(places := (p == 0).nonzero()):
            first = first or f"row {block.start + int(places[0, 0])}, column {int(places[0, 1])}"
            zeros += len(places)
    if zeros:
        raise BadInput(
            f"{zeros} probabilities are zero, the first in {first}; zero has no logarithm.\n"
            "  Give the network's raw outputs, or say what stands for zero, for example --floor 1e-12."
        )
    return rows.through(lambda p: (p.clamp_min(floor) if floor > 0 else p).log())


def _doubts(rows: "Snapshot", held_out: "Snapshot | None") -> list[str]:
    """Why the rows may be training rows."""
    from reclaim.snapshots.metrics.accuracy import accuracy

    doubts = []
    if rows.split == "train":
        doubts.append("these rows are of the split 'train'; a calibrator fitted on training rows is over-confident.")
    if held_out is not None and held_out.labels is not None and rows.labels is not None:
        here = accuracy(rows.logits, rows.labels, rows.seen).seen or 0.0
        there = accuracy(held_out.logits, held_out.labels, held_out.seen).seen or 0.0
        noise = (there * (1 - there) / max(1, len(held_out)) + 0.25 / max(1, len(rows))) ** 0.5
        if here - there > 0.02 + 3 * noise:
            doubts.append(
                f"these rows look like training rows: seen accuracy is {here:.3f}, but {there:.3f} on held-out ones."
            )
    return doubts


for _name in names("calibrators"):
    if _name not in ("chain", "logit-offset"):
        command.command(_command(_name), name=_name)
