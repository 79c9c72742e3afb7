"""``reclaim calibrate``."""

from pathlib import Path
from typing import Any

from cyclopts import App

from reclaim.cli.flags import Output
from reclaim.cli.method_flags import given_numbers, selector_numbers, with_numbers

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

    from reclaim.atomic import check_free, write_json
    from reclaim.calibrators.logit_offset import LogitOffset
    from reclaim.io import calibrator_record, load_snapshot
    from reclaim.selectors import Evidence

    given = given_numbers(select, numbers)
    if out is not None:
        check_free(out, force=force)
    rows = load_snapshot(snapshot)
    more = {"before": before, "reference": reference, "unlabelled": unlabelled, "source": source, "labelled": labelled}
    evidence = {name: load_snapshot(path) for name, path in more.items() if path is not None}
    if select == "labelled":
        evidence.setdefault("labelled", rows)
    chosen = LogitOffset.select(Evidence(seen=rows if rows.labels is not None else None, **evidence), select, given)
    record = calibrator_record(chosen)
    if out is not None:
        write_json(out, record)
        write_json(out.with_suffix(".run.json"), output.run_record())

    def table() -> None:
        console = Console(soft_wrap=True)
        console.print(f"offset {chosen.offset:.4f} for {len(chosen.seen) - sum(chosen.seen)} absent classes")
        console.print(f"{chosen.selector}: {chosen.reason}", highlight=False)
        console.print(f"guarantee: {chosen.guarantee or 'none'}", highlight=False)

    output.show(record, table)


command.command(with_numbers(logit_offset, selector_numbers()), name="logit-offset")
