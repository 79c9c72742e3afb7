"""``reclaim paper``."""

from pathlib import Path

from reclaim.cli.flags import Output, device_for
from reclaim.cli.places import take
from reclaim.core.errors import BadInput
from reclaim.core.registry import describe, find, names
from reclaim.core.terminal import console, say


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
    from reclaim.core.files import write_json
    from reclaim.core.unfinished import finish, partial_of
    from reclaim.papers.run import Setting, run

    where = device_for(device)
    setting = Setting("smoke" if smoke else "quick" if quick else "full", root, where)
    experiment = find("papers", name)(setting)
    if out is not None:
        _claim(out, {"paper": name, "size": setting.size, "root": None if root is None else str(root)}, force)
    if not output.quiet:
        say(f"{name}: about {experiment.estimate} on two cores; parts: {len(experiment.parts)}")
    table = run(experiment, setting, partial_of(out) / "parts" if out is not None else None)
    record = {"paper": describe("papers", name).name, "size": setting.size, "table": table.record()}
    if out is not None:
        about = output.run_record(paper=record["paper"], size=setting.size, device=where)
        write_json(partial_of(out) / "table.json", record)
        write_json(partial_of(out) / "run.json", about)
        finish(out)
    output.show(record, lambda: numbers_table(table))


def _claim(out: Path, what: dict[str, str | None], force: bool) -> None:
    """Take the output and the folder of the unfinished run, or say that they are another's."""
    from reclaim.core.files import check_free
    from reclaim.core.unfinished import claim, finished

    take(out, folder=True, force=True, reads=(what["root"],))
    finished(out, what)
    check_free(out, force=force)
    claim(out, what, holds=("parts", "table.json"), force=force)


def _list(output: Output) -> None:
    methods = [describe("papers", name) for name in names("papers")]
    record = [{"name": m.name, "summary": m.summary, "needs": m.needs, "source": m.source} for m in methods]

    def table() -> None:
        page = console()
        for m in methods:
            page.print(f"{m.name}: {m.summary}")
            page.print(f"  needs {m.needs}")
            page.print(f"  source: {m.source}", style="dim")

    output.show({"papers": record}, table)
