"""The whole story on embedded data, in seconds: pretrain, fine-tune on half the classes, repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from reclaim.core.numbers import Seed, in_range
from reclaim.data.inputs.image import Preprocess
from reclaim.data.records import Data
from reclaim.data.sources.digits import digits
from reclaim.models.classifier import Classifier
from reclaim.models.head import find_head
from reclaim.models.networks import digits_cnn
from reclaim.papers.table import COLUMNS, Table, accuracies, averaged
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from reclaim.repairs.result import Repair
from reclaim.report.evaluate import Evaluation
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune

__all__ = ["Demo", "demo", "over_seeds", "tuned_digits", "tuning", "won"]


@dataclass(frozen=True)
class Demo:
    """One run of the story.

    Attributes:
        before, after: the pretrained and the fine-tuned model.
        data: the target domain.
        repair: the repaired model and its numbers, on test rows that chose nothing.
    """

    before: Classifier
    after: Classifier
    data: Data
    repair: Repair[Classifier]


@in_range
def demo(seed: Seed = 0, device: str = "auto") -> Demo:
    """Pretrain a small network on ten digits, fine-tune it on five in another domain, and repair it.

    Args:
        seed: of the division of the images, the five classes, the network and the training.
        device: where networks are trained and run.
    """
    before, after, target = tuned_digits(seed, device=device)
    return Demo(before, after, target, repair(before, after, target, Choices(seed=seed), device=device))


@in_range
def tuned_digits(
    seed: Seed = 0, *, epochs: tuple[int, int] = (20, 30), device: str = "auto"
) -> tuple[Classifier, Classifier, Data]:
    """A small network that learned ten digits, the same fine-tuned on five in another domain, and that domain.

    Args:
        seed: of the division of the images, the five classes, the network and the training.
        epochs: of learning and of fine-tuning.
        device: where the network is trained.
    """
    source, target = digits(seed=seed), digits("digits-shifted", seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = digits_cnn()
    start = Classifier(
        module,
        find_head(module),
        classes=source.classes,
        preprocess=Preprocess(channels=1),
        library="reclaim",
        name="digits_cnn",
    )
    learning = Budget(epochs=epochs[0], learning_rate=0.05, batch_size=32, seed=seed, device=device)
    before = fine_tune(start, source, learning)
    return before, fine_tune(before, target, tuning(seed, epochs[1], device)), target


def tuning(seed: int = 0, epochs: int = 30, device: str = "auto") -> Budget:
    """The budget of the fine-tuning."""
    return Budget(epochs=epochs, learning_rate=0.01, batch_size=32, seed=seed, device=device)


def over_seeds(runs: Sequence[Mapping[str, Evaluation]]) -> Table:
    """Means and standard deviations over runs, each of which evaluated "before", "after" and "repaired"."""
    parts = []
    for run in runs:
        ceiling = run["after"].tradeoff.best_all
        rows: dict[str, list[float | None]] = {name: accuracies(found) for name, found in run.items()}
        parts.append({**rows, "after + best offset (a ceiling)": [ceiling and 100 * ceiling]})
    title = f"mean and standard deviation over {len(runs)} seeds"
    return Table(title, "accuracy, %", COLUMNS, averaged(parts))


def won(table: Table) -> str:
    """What the repair brought back, in a sentence, from the table of `over_seeds`."""
    whole, seen, absent = (
        {name: str(table.rows[name][column]) for name in ("before", "after", "repaired")} for column in range(3)
    )
    return (
        f"the repaired model answers {whole['repaired']} % of the test images right, the fine-tuned one "
        f"{whole['after']} % and the pretrained one {whole['before']} %: of the digits that fine-tuning left out "
        f"{absent['repaired']} % instead of {absent['after']} %, of the others {seen['repaired']} % instead of "
        f"{seen['after']} %."
    )
