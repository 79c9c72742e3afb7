"""Fine-tune by a recipe; resumable."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reclaim.cli.flags import Inputs, Output, Reading, open_data, open_model
from reclaim.cli.method_flags import family
from reclaim.cli.places import take
from reclaim.core.errors import BadInput, Diverged
from reclaim.core.registry import describe, find
from reclaim.core.terminal import console
from reclaim.training.budget import Budget

if TYPE_CHECKING:
    from reclaim.models.classifier import Classifier
    from reclaim.training.telling import Epoch

HOLDS = ("state", "model.safetensors", "model.pth", "reclaim.json")  # in the folder of a run that is not done


def tune(
    name: str,
    *,
    model: str,
    data: str,
    out: Path,
    seen: str | None = None,
    reading: Reading = Reading(),
    budget: Annotated[Budget, Parameter(name="*")] = Budget(),
    inputs: Inputs = Inputs(),
    force: bool = False,
    output: Output = Output(),
    **numbers: Any,
) -> None:
    """{summary}.

    A run that was stopped goes on when the same command is given again; until it is done its state is in OUT.partial.

    Args:
        model: LIBRARY/NAME, optionally @CHECKPOINT, or a model directory.
        data: class folders, tables, tars, a hub's dataset, or "digits"; its training or only split is used.
        out: the model directory to write.
        seen: train on these classes only: a file with one per line, or names joined by commas.
        force: replace a directory that exists, and start anew.
    """
    from reclaim.cli.model_output import write_model
    from reclaim.core.files import check_free, write_json
    from reclaim.core.several import end_together, processes
    from reclaim.core.unfinished import finish, finished, partial_of
    from reclaim.models.head import settled
    from reclaim.training.telling import telling

    several = processes(budget.device)
    mine = {"recipe": name, "model": model, "data": data, "seen": seen, **_deciding(budget, reading), **numbers}
    made = {"out": str(out), "recipe": name}
    if several.is_main_process:
        take(out, folder=True, force=True, reads=(model,), data=(data,))
        if finished(out, mine, describe("recipes", name).renamed) and not force:
            output.show(made, lambda: console().print(f"the model, which was finished before: {out}"))
            return
    check_free(out, force=force)
    start = open_model(model, inputs)
    rows = open_data(data, seen, reading=reading, output=output)
    if len(rows.splits) == 1:  # whatever it is called, it is what was given to train on
        rows = replace(rows, splits={"train": next(iter(rows.splits.values()))})
    start, whole = settled(start, rows), partial_of(out) / "run.json"
    with several.main_process_first():
        standing = _standing(out, mine, force=force, main=several.is_main_process)
    if standing != "whole":
        run = partial(find("recipes", name), start, rows, budget, **numbers)
        with telling() as epochs:
            tuned = _trained(run, out, new=standing == "new", main=several.is_main_process)
        if several.is_main_process:
            write_model(partial_of(out), replace(tuned, seen=rows.seen_classes), _said(name, budget))
            about = {"recipe": name, "device": str(several.device), **numbers, **_told(epochs, budget)}
            write_json(whole, output.run_record(**about))
    if several.is_main_process:
        finish(out, "state")
        output.show(made, lambda: console().print(f"the model: {out}"))
    end_together(several)


def _said(name: str, budget: Budget) -> list[tuple[str, str]]:
    """What was done, for the model's card."""
    length = f"epochs {budget.epochs}" if budget.steps is None else f"steps {budget.steps}"
    return [("Fine-tuning", f"{name}: {length}, learning rate {budget.learning_rate:g}.")]


def _deciding(budget: Budget, reading: Reading) -> dict[str, Any]:
    """What makes a run another one; what earlier versions had not, only where it is given."""
    of_budget = {key: value for key, value in asdict(budget).items() if key not in ("workers", "device", "keep")}
    return of_budget | ({} if budget.keep == "last" else {"keep": budget.keep}) | reading.said


def _told(epochs: list["Epoch"], budget: Budget) -> dict[str, Any]:
    """What the record says of the budget, of the epochs, and which of them is kept."""
    from reclaim.training.telling import best_of

    best = best_of(epochs) if budget.keep == "best" else None
    kept = {} if best is None else {"kept_epoch": best.epoch}
    return {"budget": asdict(budget), "epochs": [asdict(one) for one in epochs], **kept}


def _standing(out: Path, what: dict[str, Any], *, force: bool, main: bool) -> Literal["new", "begun", "whole"]:
    """How far the run is; the first of several processes makes its folder ours."""
    from reclaim.core.unfinished import claim, partial_of

    if main:
        return claim(out, what, holds=HOLDS, force=force, renamed=describe("recipes", what["recipe"]).renamed)
    return "whole" if (partial_of(out) / "run.json").is_file() else "begun"


def _trained(run: Callable[[], "Classifier"], out: Path, *, new: bool, main: bool) -> "Classifier":
    """What a recipe gives, resumed where it was stopped; one that is refused leaves nothing of a new run."""
    from reclaim.core.files import discard
    from reclaim.core.unfinished import partial_of
    from reclaim.training.resume import resuming

    try:
        with resuming(partial_of(out) / "state"):
            return run()
    except BadInput as error:
        if main and (new or isinstance(error, Diverged)):
            discard(partial_of(out), out)
        raise


command = family("recipes", tune)
