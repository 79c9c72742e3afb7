"""``reclaim demo``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from reclaim.cli.flags import Output, device_for
from reclaim.cli.places import take
from reclaim.core.numbers import Seed, Within, check_argument
from reclaim.core.terminal import console, say

if TYPE_CHECKING:
    from reclaim.papers.demo import Demo

OWN = {"after", "before", "calibrator.json", "model.safetensors", "reclaim.json", "report.html", "run.json"}


def command(
    *,
    out: Path = Path("reclaim-demo"),
    seed: Seed = 0,
    seeds: Annotated[int, Within(1, 1000)] = 3,
    device: str = "auto",
    force: bool = False,
    output: Output = Output(),
) -> None:
    """The whole story on embedded data, in under a minute on two cores: pretrain, fine-tune, diagnose, repair, report.

    A small network learns scikit-learn's ten digits, is fine-tuned in a shifted domain on five of them, and repaired.
    Files are those of the first seed.

    Args:
        out: the directory to write: the models before, after and repaired, with report.html. What an earlier demo
            wrote there is replaced.
        seed: the first seed: of the division of the images, the five classes, the network and the training.
        seeds: how many seeds to run; with more than one, means and standard deviations are printed.
        device: "auto" is a GPU if there is one; or "cpu", "cuda", "cuda:1", "mps".
        force: replace a directory that exists, whatever it is.
    """
    from reclaim.cli.repair_output import write_repair
    from reclaim.core import disk
    from reclaim.core.files import atomic_directory, write_json
    from reclaim.core.progress import track
    from reclaim.models.directory import save_model
    from reclaim.papers.demo import demo
    from reclaim.report.evaluate import evaluate

    check_argument("seed", seed + seeds - 1, Seed)  # of the last run
    force = force or _is_a_demo(out)
    take(out, folder=True, force=force)
    where = device_for(device)
    if not output.quiet:
        say(f"reclaim: the demo writes {out}")
    runs = [demo(seed + i, where) for i in track(range(seeds), "seeds", total=seeds)]
    rows = [{name: evaluate(getattr(run.repair, name)) for name in ("before", "after", "repaired")} for run in runs]
    with atomic_directory(out, force=force) as folder:
        record = write_repair(folder, runs[0].repair, output, seed, device=where)
        for name, model in (("before", runs[0].before), ("after", runs[0].after)):
            disk.make_folder(folder / name)
            save_model(folder / name, model)
        record["seeds"] = [
            {"seed": seed + i, **{name: found.record()["accuracy"] for name, found in each.items()}}
            for i, each in enumerate(rows)
        ]
        write_json(folder / "run.json", record)
    output.show(record, lambda: _print(runs[0], rows, seed, out, record["seconds"]))


def _is_a_demo(folder: Path) -> bool:
    """Whether a demo wrote this folder, and nobody anything else into it."""
    if not (folder / "run.json").is_file() or not {path.name for path in folder.iterdir()} <= OWN:
        return False
    from reclaim.core.records import read_json

    record = read_json(folder / "run.json")
    return isinstance(record, dict) and {"seeds", "seed", "bias"} <= record.keys()


def _print(run: "Demo", rows: list[dict[str, Any]], seed: int, out: Path, seconds: float) -> None:
    from reclaim.cli.tables import accuracy_table, numbers_table
    from reclaim.papers.demo import over_seeds, won
    from reclaim.report.story import sentences

    page, table = console(), over_seeds(rows)
    page.print(won(table), style="bold")
    if len(rows) > 1:
        numbers_table(table)
    seen = ", ".join(run.data.seen_classes)
    page.print(
        f"\nseed {seed}, whose files are kept: pretrained on ten digits, fine-tuned on {seen} in a shifted domain"
    )
    accuracy_table(rows[0], title=f"{rows[0]['after'].n} test rows that chose nothing")
    for term, sentence in sentences(run.repair):
        page.print(term, style="bold", end="")
        page.print(f": {sentence}")
    page.print(f"{seconds:.1f} seconds; open {out / 'report.html'}")
