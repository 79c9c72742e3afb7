"""Fine-tune by a recipe; resumable."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, open_data, open_model
from reclaim.cli.method_flags import family
from reclaim.core.errors import BadInput
from reclaim.core.registry import describe, find
from reclaim.training.budget import Budget


def tune(
    name: str,
    *,
    model: str,
    data: str,
    out: Path,
    seen: str | None = None,
    skip_bad: bool = False,
    budget: Annotated[Budget, Parameter(name="*")] = Budget(),
    inputs: Inputs = Inputs(),
    force: bool = False,
    output: Output = Output(),
    **numbers: Any,
) -> None:
    """{summary}.

    A run that was stopped goes on where it was when the same command is given again; until it is done its state
    is in OUT.partial.

    Args:
        model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory.
        data: a folder of class folders, an .npz or Parquet file, or "digits"; its training split is used, or
            its only one.
        out: the model directory to write.
        seen: train on these classes only: a file with one per line, or names joined by commas.
        skip_bad: leave out examples that cannot be read, and list them.
        force: replace a directory that exists, and start anew.
    """
    from rich.console import Console

    from reclaim.core.files import check_free, put_in_place, write_json
    from reclaim.models.directory import save_model
    from reclaim.models.head import settled
    from reclaim.training.processes import end_together, processes
    from reclaim.training.resume import resuming

    several = processes(budget.device)
    check_free(out, force=force)
    partial = out.with_name(f"{out.name}.partial")
    start = open_model(model, inputs)
    rows = open_data(data, seen, skip_bad=skip_bad)
    if len(rows.splits) == 1:  # whatever the one split is called, it is what was given to train on
        rows = replace(rows, splits={"train": next(iter(rows.splits.values()))})
    start = settled(start, rows)
    with several.main_process_first():
        claim = {"recipe": name, "model": model, "data": data, "seen": seen, **numbers}
        _claim(partial, claim, force=force and several.is_main_process)
    with resuming(partial / "state"):
        tuned = find("recipes", name)(start, rows, budget, **numbers)
    if not several.is_main_process:
        end_together(several)
        return
    record = output.run_record(recipe=name, budget=asdict(budget), device=str(several.device), **numbers)
    save_model(partial, replace(tuned, seen=rows.seen_classes))
    write_json(partial / "run.json", record)
    shutil.rmtree(partial / "state", ignore_errors=True)
    (partial / "claim.json").unlink()
    put_in_place(partial, out)
    end_together(several)
    output.show({"out": str(out), "recipe": name}, lambda: Console().print(f"the model: {out}"))


def _claim(partial: Path, what: dict[str, Any], *, force: bool) -> None:
    """Make the folder of an unfinished run ours, or say that it is another's."""
    from reclaim.core.files import write_json
    from reclaim.core.records import read_record

    if force:
        shutil.rmtree(partial, ignore_errors=True)
    method = describe("recipes", what["recipe"])
    if (partial / "claim.json").is_file() and (
        found := method.renamed(read_record(partial / "claim.json", dict))
    ) != what:
        other = [
            f"{key} was {found.get(key)!r}, is {value!r}" for key, value in what.items() if found.get(key) != value
        ]
        raise BadInput(
            f"{partial} holds an unfinished run of another command ({'; '.join(other)}).\n"
            "  Repeat that command to finish it, or say --force to start anew."
        )
    write_json(partial / "claim.json", what)


command = family("recipes", tune)
