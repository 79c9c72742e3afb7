"""Digits that a fine-tuning left out, and the offsets that bring them back.

    reclaim paper digits-left-out

gives over all classes, in per cent: pretrained 48.6, fine-tuned 56.1, with the best offset (a ceiling) 84.2, average
logit gap 78.6, gap matching 70.3, own class left out 82.3, budgets of 5, 10 and 20 % 83.0, 82.5 and 79.2, three
retrainings (pseudo cross-validation) 70.5. It is a table of our own, in the setting of Mai et al.: nothing is printed
elsewhere to compare it with.
"""

from __future__ import annotations

from functools import partial

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import Evidence
from reclaim.core.inference import Inference
from reclaim.models.predict import predict
from reclaim.papers.demo import tuned_digits, tuning
from reclaim.papers.run import Experiment, Setting
from reclaim.papers.table import COLUMNS, Rows, Table, accuracies, averaged
from reclaim.repairs.pseudo_cross_validation import pseudo_cross_validation
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.snapshot import Snapshot
from reclaim.training.recipes.fine_tune import fine_tune

__all__ = ["digits_left_out"]

OFFSETS = {
    "average logit gap": ("average-logit-gap", {}),
    "gap matching": ("gap-matching", {}),
    "own class left out": ("own-class-left-out", {}),
    **{f"budget {share:.0%}": ("retention-budget", {"budget": share}) for share in (0.05, 0.1, 0.2)},
}


def digits_left_out(setting: Setting) -> Experiment:
    """Offsets for digits that a fine-tuning left out, chosen from held-out rows of the others.

    A small network learns scikit-learn's ten digits and is fine-tuned on five of them in a shifted domain. Each offset
    is chosen from the held-out rows of the five and judged on test rows of all ten. A budget is the share of held-out
    hits that an offset may spend. The ceiling reads the test labels.

    Needs: nothing beside scikit-learn's digits.
    Source: the setting of Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; digits, shift and table are
        Reclaim's.
    """
    seeds = {"full": 6, "quick": 2, "smoke": 1}[setting.size]
    epochs = (1, 1) if setting.size == "smoke" else (20, 30)
    parts = {f"seed-{seed}": partial(one_seed, seed, epochs, setting.device) for seed in range(seeds)}
    return Experiment("digits-left-out", parts, table, seconds=0.3 if setting.size == "smoke" else 5)


def one_seed(seed: int, epochs: tuple[int, int], device: str = "auto") -> Rows:
    """Accuracies in per cent with one division of images, one choice of five digits and one network."""
    before, after, data = tuned_digits(seed, epochs=epochs, device=device)
    how = Inference(device=device)
    first, last = (partial(predict, model, data, inference=how) for model in (before, after))
    held_out = Evidence(seen=last("val"), before=first("val"))
    answers = last("test")
    tuned = evaluate(answers)
    rows = {"pretrained": accuracies(evaluate(first("test"))), "fine-tuned": accuracies(tuned)}
    rows["+ best offset (ceiling)"] = lifted(answers, tuned.tradeoff.best_offset or 0.0)
    for name, (selector, numbers) in OFFSETS.items():
        rows[f"+ {name}"] = lifted(answers, LogitOffset.select(held_out, selector, numbers).offset)
    retrain = partial(fine_tune, budget=tuning(seed, epochs[1], device))
    again = pseudo_cross_validation(before, data, retrain, seed=seed, inference=how)
    rows["+ three retrainings"] = lifted(answers, again.offset)
    return rows


def lifted(answers: Snapshot, offset: float) -> list[float | None]:
    """Accuracies with the offset added to the logits of absent classes."""
    return accuracies(evaluate(answers.with_logits(answers.logits + offset * ~answers.seen)))


def table(parts: list[Rows]) -> Table:
    """Means and standard deviations over the seeds."""
    how = f"mean and standard deviation over {len(parts)} seeds" if len(parts) > 1 else "one seed"
    title = f"digits that a fine-tuning left out: {how}"
    return Table(title, "accuracy, %", COLUMNS, averaged(parts))
