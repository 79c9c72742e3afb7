"""``reclaim paper``."""

import shutil
import sys
from pathlib import Path

from reclaim.cli.flags import Output, device_for
from reclaim.core.errors import BadInput
from reclaim.core.registry import describe, find, names


def command(
    name: str = "",
    *,
    root: Path | None = None,
    quick: bool = False,
    smoke: bool = False,
    out: Path | None = None,
    device: str = "auto",
    force: bool = False,
    output: Output = Output(),
) -> None:
    """A published table or figure, rerun: our rows beside the printed ones. Without a name: what there is.

    Args:
        name: of the entry.
        root: the folder of its data and weights, if it needs any.
        quick: fewer repetitions.
        smoke: in seconds, to see that it runs; the numbers mean nothing.
        out: a folder for the table as JSON and each part's numbers. A run that was stopped goes on where it was when
            the same command is given again; until it is done its parts are in OUT.partial.
        device: "auto" is a GPU if there is one; or "cpu", "cuda", "cuda:1", "mps".
        force: replace a folder that exists, and start anew.
    """
    if not name:
        if root or quick or smoke or out or force or device != "auto":
            raise BadInput("these flags are for an entry; name one. Without a name and flags all are listed.")
        _list(output)
        return
    if root is not None and not root.is_dir():
        raise BadInput(f"there is no folder {root}.")
    if quick and smoke:
        raise BadInput("--quick and --smoke exclude each other; --smoke is the smaller one.")

    from reclaim.cli.tables import numbers_table
    from reclaim.core.files import check_free, put_in_place, write_json
    from reclaim.papers.run import Setting, run

    where = device_for(device)
    setting = Setting("smoke" if smoke else "quick" if quick else "full", root, where)
    experiment = find("papers", name)(setting)
    if out is not None:
        check_free(out, force=force)
    partial = out and out.absolute().with_name(f"{out.absolute().name}.partial")
    if out is not None and partial is not None and force:
        shutil.rmtree(partial, ignore_errors=True)
    if not output.quiet:
        sys.stderr.write(f"{name}: about {experiment.estimate} on two cores; parts: {len(experiment.parts)}\n")
    table = run(experiment, setting, partial and partial / "parts")
    record = {"paper": describe("papers", name).name, "size": setting.size, "table": table.record()}
    if out is not None and partial is not None:
        write_json(partial / "table.json", record)
        write_json(partial / "run.json", output.run_record(paper=record["paper"], size=setting.size, device=where))
        put_in_place(partial, out)
    output.show(record, lambda: numbers_table(table))


def _list(output: Output) -> None:
    from rich.console import Console

    methods = [describe("papers", name) for name in names("papers")]
    record = [{"name": m.name, "summary": m.summary, "needs": m.needs, "source": m.source} for m in methods]

    def table() -> None:
        console = Console(soft_wrap=True, highlight=False)
        for m in methods:
            console.print(f"{m.name}: {m.summary}", markup=False)
            console.print(f"  needs {m.needs}", markup=False)
            console.print(f"  source: {m.source}", markup=False, style="dim")

    output.show({"papers": record}, table)
