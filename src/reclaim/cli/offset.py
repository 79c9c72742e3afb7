"""``reclaim calibrate logit-offset``: the one calibrator whose number a selector chooses, from several snapshots."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclaim.cli.arrays import Arrays
from reclaim.cli.flags import Output, record_of
from reclaim.cli.method_flags import given_numbers, selector_numbers, with_numbers
from reclaim.cli.places import take
from reclaim.core.several import rank
from reclaim.core.terminal import console

if TYPE_CHECKING:
    from reclaim.snapshots.snapshot import Snapshot

__all__ = ["logit_offset"]


@with_numbers(selector_numbers())
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
    arrays: Arrays = Arrays(),
    classes: Path | None = None,
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
        classes: of logits from elsewhere: a file that names the columns, one per line, in order.
        force: replace a file that exists.
    """
    from reclaim.calibration.calibrators.logit_offset import LogitOffset
    from reclaim.calibration.evidence import Evidence
    from reclaim.calibration.files import calibrator_record, save_calibrator
    from reclaim.core.files import together, write_json

    given = given_numbers(select, numbers)
    if out is not None and not rank():
        read = (snapshot, before, reference, unlabelled, source, labelled, classes, *arrays.reads)
        take(out, record_of(out), folder=False, force=force, reads=read, suffixes=(".json",))
    rows = arrays.open(snapshot, classes)
    more = {"before": before, "reference": reference, "unlabelled": unlabelled, "source": source, "labelled": labelled}
    evidence: Any = {name: _opened(name, path, arrays, classes) for name, path in more.items() if path is not None}
    if select == "labelled":
        evidence.setdefault("labelled", rows)
    chosen = LogitOffset.select(Evidence(seen=rows if rows.labels is not None else None, **evidence), select, given)
    record = calibrator_record(chosen)
    if out is not None and not rank():
        with together(out):
            record = save_calibrator(out, chosen)
            write_json(record_of(out), output.run_record())

    def table() -> None:
        page = console()
        page.print(f"offset {chosen.offset:.4f} for {chosen.fitted.seen.count(False)} absent classes")
        page.print(f"{chosen.selector}: {chosen.reason}")
        page.print(f"guarantee: {chosen.guarantee or 'none'}")

    output.show(record, table)


def _opened(name: str, path: Path, arrays: Arrays, classes: Path | None) -> "Snapshot":
    """Further evidence; that of the same rows has their labels."""
    return arrays.open(path, classes, same_rows=name in ("before", "reference"), alone=False)
