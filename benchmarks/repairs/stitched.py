"""Heads that differ, on real weights: fine-tuned with a fresh head for its own classes, beside a kept head.

Run: python -m benchmarks.repairs.stitched --seeds 2
     python -m benchmarks.repairs.stitched --pairs cifar --smoke

SqueezeNet (ImageNet, 1000 classes) is fine-tuned on 100 of Tiny-ImageNet's 200 classes, ResNet-20 (CIFAR-10) on 5 of
the 10 as JPEG, with 4,000 rows of seen classes: once with the pretrained head, and once with a fresh one that has
the seen classes alone. There the head is trained first (`frozen-backbone`), then everything (`fine-tune`). Held-out
rows (1,000 and 2,500 of all classes, of which the seen ones are read) choose; 2,000 and 3,000 others judge. Weights are
kept in out/bench/stitched, so that a run may be stopped and started again. All is read from the folder RECLAIM_DATA.

"ceiling" is the best offset in hindsight, on the rows that judge: of the fine-tuned model with its kept head; of the
joined heads at alpha 1, with the scale that was chosen. It is no method.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.repairs.scenarios.dividing import plan
from benchmarks.repairs.scenarios.pictures import CIFAR, TINY, images, resnet20, squeezenet
from benchmarks.repairs.scenarios.records import Recipe, Scenario, World
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.union import with_rows
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from reclaim.repairs.result import Repair
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.snapshot import Snapshot
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from reclaim.training.recipes.frozen_backbone import frozen_backbone

__all__ = ["PAIRS", "Pair", "fresh", "main", "measured"]

KEPT = Path("out/bench/stitched")
SMOKE = 200  # rows that choose, and that judge, where only a sign of life is asked for
BALANCED = Choices(prefer="balanced")
Row = tuple[float, float, float]  # accuracy on all, seen and absent rows


@dataclass(frozen=True)
class Pair:
    """A pretrained network and how it is fine-tuned.

    Attributes:
        name: of its files.
        make: the network, and the rows that choose and judge.
        train: classes and rows that it is fine-tuned on, those of the seen classes.
        head, everything: what is spent on the fresh head alone, and on all weights.
    """

    name: str
    make: Callable[[Scenario], World]
    train: Callable[[], tuple[tuple[str, ...], Split]]
    head: Budget
    everything: Budget


PAIRS = (
    Pair(
        "cifar",
        resnet20,
        partial(images, CIFAR[0], 32),
        Budget(2, 0.05, 32, device="cpu"),
        Budget(5, 5e-3, 32, augment="flip", device="cpu"),
    ),
    Pair(
        "tiny",
        squeezenet,
        partial(images, TINY[0], 96),
        Budget(6, 1e-3, 32, optimizer="adamw", device="cpu"),
        Budget(2, 1e-4, 32, optimizer="adamw", augment="flip", device="cpu"),
    ),
)


def fresh(before: Classifier, classes: Sequence[str], seed: int) -> Classifier:
    """The pretrained network with a head of its own for these classes, at torch's first weights."""
    layer = before.last_layer
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        new: nn.Linear | nn.Conv2d = (
            nn.Linear(before.num_features, len(classes))
            if isinstance(layer, nn.Linear)
            else nn.Conv2d(before.num_features, len(classes), 1)
        )
    assert new.bias is not None
    return replace(with_rows(before, new.weight.detach(), new.bias.detach()), classes=tuple(classes))


def measured(pair: Pair, seed: int, *, rows: int, epochs: int | None, folder: Path) -> dict[str, Row]:
    """The accuracies of one seed, by row of the table; with `epochs`, a sign of life on few rows."""
    scenario = plan(pair.name, (Recipe("sgd", 1e-3, 1),), 1)[0]
    world = pair.make(replace(scenario, seed=seed))
    seen = _seen(world.data.classes, pair.name)
    data = world.data.with_seen(seen)
    own = _own(*pair.train(), seen, rows, seed)
    start, spend = fresh(world.before, seen, seed), _spending(pair, seed, epochs)
    alone = Data(seen, {"train": own}, torch.ones(len(seen), dtype=torch.bool), data.source)
    kept = Data(data.classes, {"train": _numbered(own, seen, data.classes)}, data.seen, data.source)
    name = f"{pair.name}_{rows}_{seed}" + ("" if epochs is None else f"_{epochs}")

    def with_fresh_head() -> Classifier:
        return fine_tune(frozen_backbone(start, alone, spend.head), alone, spend.everything, mode="eval")

    fresh_head = _kept(folder / f"{name}_fresh.safetensors", start, with_fresh_head)
    kept_head = _kept(
        folder / f"{name}_kept.safetensors",
        world.before,
        lambda: fine_tune(world.before, kept, spend.everything, mode="eval"),
    )
    parts = {"val": data.split("held"), "test": data.split("test")}
    some = {part: split if epochs is None else split.rows(torch.arange(SMOKE)) for part, split in parts.items()}
    target = replace(data, splits=some)
    joined = [repair(world.before, fresh_head, target, how) for how in (Choices(), BALANCED)]
    usual = [repair(world.before, kept_head, target, how) for how in (Choices(), BALANCED)]
    return _rows("fresh head", joined) | _rows("kept head", usual)


def _rows(head: str, done: Sequence[Repair[Classifier]]) -> dict[str, Row]:
    within, free = done
    stitch = within.stitch
    after: dict[str, Snapshot] = {} if stitch is None else {
        "stitched, no scale, no offset": stitch.plain,
        "stitched, scaled": stitch.scaled,
    }  # fmt: skip
    found = {"pretrained": within.before, "fine-tuned": within.after, **after}
    found |= {"repaired": within.repaired, "repaired, prefer balanced": free.repaired}
    rows = {f"{head}: {name}": accuracies(snapshot) for name, snapshot in found.items()}
    return rows | {f"{head}: (ceiling)": ceiling(within.after if stitch is None else stitch.scaled)}


def accuracies(rows: Snapshot) -> Row:
    """On all, seen and absent rows."""
    right = evaluate(rows).accuracy
    return right.all or 0.0, right.seen or 0.0, right.absent or 0.0


def ceiling(rows: Snapshot) -> Row:
    """The same with the best offset in hindsight."""
    best = evaluate(rows).tradeoff.best_offset
    assert best is not None
    return accuracies(rows.with_logits(rows.logits + best * ~rows.seen))


def table(found: Mapping[str, Sequence[Row]]) -> str:
    """Means over seeds as a table, with the spread of the first column."""
    lines = ["|  | all | seen | absent | sd of all |", "| --- | --- | --- | --- | --- |"]
    for name, rows in found.items():
        means = [f"{statistics.fmean(column):.3f}" for column in zip(*rows, strict=True)]
        spread = f"{statistics.stdev(row[0] for row in rows):.3f}" if len(rows) > 1 else "–"
        lines.append(f"| {name} | {' | '.join(means)} | {spread} |")
    return "\n".join(lines)


def _seen(classes: Sequence[str], name: str) -> tuple[str, ...]:
    if name != "tiny":
        return tuple(classes[::2])
    named = Path(__file__).parents[2] / "examples" / "tiny_imagenet_seen.txt"
    return tuple(named.read_text().split())


def _own(classes: Sequence[str], rows: Split, seen: Sequence[str], most: int, seed: int) -> Split:
    """Some of the rows of seen classes, with labels among these."""
    own = rows.rows(torch.tensor([name in set(seen) for name in classes])[rows.labels])
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))[:most]
    return _numbered(own.rows(order), classes, seen)


def _numbered(rows: Split, classes: Sequence[str], others: Sequence[str]) -> Split:
    """The rows with labels among other classes."""
    where = {name: index for index, name in enumerate(others)}
    index = torch.tensor([where.get(name, -1) for name in classes])
    return replace(rows, labels=index[rows.labels])


def _spending(pair: Pair, seed: int, epochs: int | None) -> Pair:
    head, everything = (
        replace(budget, seed=seed, workers=0, epochs=budget.epochs if epochs is None else epochs)
        for budget in (pair.head, pair.everything)
    )
    return replace(pair, head=head, everything=everything)


def _kept(path: Path, like: Classifier, made: Callable[[], Classifier]) -> Classifier:
    """The model whose weights lie there; made and put there the first time."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        save_file(made().weights, path)
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s", flush=True)
    return like.with_weights(load_file(path))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", default="cifar,tiny", help="which, with commas")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=4000, help="of seen classes to fine-tune on")
    parser.add_argument("--smoke", action="store_true", help="a sign of life: one seed, 64 rows, one epoch")
    given = parser.parse_args()
    logging.getLogger("reclaim").setLevel(logging.ERROR)
    for pair in (pair for pair in PAIRS if pair.name in given.pairs.split(",")):
        rows, seeds, epochs = (64, 1, 1) if given.smoke else (given.rows, given.seeds, None)
        all_seeds = [measured(pair, seed, rows=rows, epochs=epochs, folder=KEPT) for seed in range(seeds)]
        found = {name: [one[name] for one in all_seeds] for name in all_seeds[0]}
        print(f"\n{pair.name}, {seeds} seeds, {rows} rows\n\n{table(found)}", flush=True)


if __name__ == "__main__":
    main()
