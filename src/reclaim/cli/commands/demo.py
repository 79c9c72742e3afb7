"""``reclaim demo``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclaim.cli.flags import Output, device_for
from reclaim.core.errors import BadInput

if TYPE_CHECKING:
    from reclaim.papers.demo import Demo


def command(
    *,
    out: Path,
    seed: int = 0,
    seeds: int = 1,
    device: str = "auto",
    force: bool = False,
    output: Output = Output(),
) -> None:
    """The whole story on embedded data, in under a minute on two cores: pretrain, fine-tune, diagnose, repair, report.

    A small network learns scikit-learn's ten digits, is fine-tuned in a shifted domain on five of them, and repaired.
    Files are those of the first seed.

    Args:
        out: the directory to write: the models before, after and repaired, with report.html.
        seed: the first seed: of the division of the images, the five classes, the network and the training.
        seeds: how many seeds to run; with more than one, means and standard deviations are printed too.
        device: "auto" is a GPU if there is one; or "cpu", "cuda", "cuda:1", "mps".
        force: replace a directory that exists.
    """
    from reclaim.cli.repair_output import write_repair
    from reclaim.core.files import atomic_directory, check_free, write_json
    from reclaim.core.progress import track
    from reclaim.models.directory import save_model
    from reclaim.papers.demo import demo
    from reclaim.report.evaluate import evaluate

    if seeds < 1:
        raise BadInput(f"--seeds must be at least 1; given: {seeds}.")
    check_free(out, force=force)
    where = device_for(device)
    runs = [demo(seed + i, where) for i in track(range(seeds), "seeds", total=seeds)]
    rows = [{name: evaluate(getattr(run.repair, name)) for name in ("before", "after", "repaired")} for run in runs]
    with atomic_directory(out, force=force) as folder:
        record = write_repair(folder, runs[0].repair, output, seed, device=where)
        for name, model in (("before", runs[0].before), ("after", runs[0].after)):
            (folder / name).mkdir()
            save_model(folder / name, model)
        record["seeds"] = [
            {"seed": seed + i, **{name: found.record()["accuracy"] for name, found in each.items()}}
            for i, each in enumerate(rows)
        ]
        write_json(folder / "run.json", record)
    output.show(record, lambda: _print(runs[0], rows, seed, out, record["seconds"]))


def _print(run: "Demo", rows: list[dict[str, Any]], seed: int, out: Path, seconds: float) -> None:
    from rich.console import Console

    from reclaim.cli.tables import accuracy_table, numbers_table
    from reclaim.papers.demo import over_seeds
    from reclaim.report.story import sentences

    console = Console(highlight=False, soft_wrap=True)
    seen = ", ".join(run.repair.model.seen or ())
    console.print(f"seed {seed}: pretrained on ten digits, fine-tuned on {seen} in a shifted domain")
    accuracy_table(rows[0], title=f"{rows[0]['after'].n} test rows that chose nothing")
    for term, sentence in sentences(run.repair):
        console.print(f"[bold]{term}[/bold]: {sentence}")
    if len(rows) > 1:
        numbers_table(over_seeds(rows))
    console.print(f"{seconds:.1f} seconds; open {out / 'report.html'}")
