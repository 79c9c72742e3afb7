"""The card of a model: what was done to it, and its numbers, as hubs show and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from reclaim.data.inputs.text import Texts
from reclaim.models.classifier import Classifier
from reclaim.report.evaluate import Evaluation, evaluate
from reclaim.report.story import Sentence
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Answered", "answered", "model_card"]

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
METRICS = {"all": "all classes", "seen": "classes that the fine-tuning had", "absent": "classes that it had not"}


@dataclass(frozen=True)
class Answered:
    """What becomes of rows where those are left unanswered whose most probable class is less probable than that.

    Attributes:
        threshold: the least probability of an answer.
        share: of the rows that are answered.
        error: of the answers, the share that is wrong; None where no row is answered.
    """

    threshold: float
    share: float
    error: float | None


def answered(rows: Snapshot, thresholds: Sequence[float] = THRESHOLDS) -> list[Answered]:
    """Share and error of answered rows at each threshold, by the softmax of the logits."""
    labels = rows.known_labels
    p, classes = rows.logits.float().softmax(dim=1).max(dim=1)
    found = []
    for threshold in thresholds:
        given = p >= threshold
        wrong = (classes != labels)[given].double()
        found.append(Answered(threshold, float(given.double().mean()), float(wrong.mean()) if len(wrong) else None))
    return found


def model_card(model: Classifier, *, done: Sequence[Sentence] = (), rows: Mapping[str, Snapshot] | None = None) -> str:
    """The card of a model as text: metadata in YAML, with numbers as `model-index` results, and a page in Markdown.

    Args:
        model: what the card is of.
        done: what was done to it, in sentences with a heading each.
        rows: answers on rows that chose nothing, by whose they are; those of the model itself last.
    """
    labelled = {name: one for name, one in (rows or {}).items() if one.labels is not None and len(one)}
    numbers = {name: evaluate(one) for name, one in labelled.items()}
    name = PurePath(model.name).name or model.library
    parts = [f"---\n{_metadata(model, name, labelled, numbers)}\n---", f"# {name}", _opening(model, numbers)]
    if done:
        parts.append("## What was done\n\n" + "\n".join(f"- **{head}**: {said}" for head, said in done))
    if numbers:
        own = list(labelled.values())[-1]
        parts += [_accuracies(numbers, own), _unanswered(answered(own))]
    if model.seen is not None:
        absent = [one for one in model.classes if one not in set(model.seen)]
        parts.append(
            f"## Classes\n\nThe fine-tuning had {len(model.seen)} of {len(model.classes)} classes. "
            + (f"It had none of: {_names(absent)}." if absent else "It had all of them.")
        )
    return "\n\n".join(parts) + "\n"


def _task(model: Classifier) -> str:
    return "text-classification" if isinstance(model.preprocess, Texts) else "image-classification"


def _metadata(model: Classifier, name: str, rows: Mapping[str, Snapshot], numbers: Mapping[str, Evaluation]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    if rows:
        own, found = list(rows.values())[-1], list(numbers.values())[-1]
        data = PurePath(own.data).name or "data"
        values = [("accuracy", METRICS[key], getattr(found.accuracy, key)) for key in METRICS]
        values += [("ece", "expected calibration error, 15 bins", found.confidence.ece)]
        results = [
            EvalResult(
                task_type=_task(model),
                dataset_type=data,
                dataset_name=data,
                dataset_split=own.split or None,
                metric_type=kind,
                metric_name=called if kind != "accuracy" else f"accuracy, {called}",
                metric_value=round(float(value), 6),
            )
            for kind, called, value in values
            if value is not None
        ]
    about: dict[str, Any] = {"model_name": name, "eval_results": results} if results else {}
    card = ModelCardData(
        library_name=model.library.replace("-", "_"),
        pipeline_tag=_task(model),
        tags=["reclaim", _task(model)],
        **about,
    )
    return card.to_yaml().strip()


def _opening(model: Classifier, numbers: Mapping[str, Evaluation]) -> str:
    what = "texts" if isinstance(model.preprocess, Texts) else "images"
    rows = f" Numbers are of {list(numbers.values())[-1].n} rows that chose nothing." if numbers else ""
    return (
        f"A classifier of {what} over {model.num_outputs} classes. This folder is as {model.library} writes it, and "
        f"{model.library} alone reads it.{rows}"
    )


def _accuracies(numbers: Mapping[str, Evaluation], own: Snapshot) -> str:
    head = "| | " + " | ".join(METRICS.values()) + " |\n|---|" + "---|" * len(METRICS)
    lines = [
        f"| {name} | "
        + " | ".join(_share(getattr(one.accuracy, key), one.intervals.get(key)) for key in METRICS)
        + " |"
        for name, one in numbers.items()
    ]
    where = PurePath(own.data).name
    return (
        f"## Accuracy\n\nOn {_plain(where) or 'the data'}, {own.split or 'all rows'}; 95 % intervals.\n\n"
        + "\n".join([head, *lines])
    )


def _unanswered(found: Sequence[Answered]) -> str:
    lines = [
        f"| {one.threshold:g} | {one.share:.1%} | {'–' if one.error is None else f'{one.error:.1%}'} |" for one in found
    ]
    return (
        "## Leaving rows unanswered\n\nRows whose most probable class is less probable than this get no answer.\n\n"
        "| probability | rows answered | wrong answers |\n|---|---|---|\n" + "\n".join(lines)
    )


def _share(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" + (f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else "")


def _names(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(_plain(name) for name in names[:most]) + (
        f", … ({len(names)} in all)" if len(names) > most else ""
    )


def _plain(text: str) -> str:
    """Text that means nothing else in Markdown: what a class is called must not become a link or a heading."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else " " if c in "\r\n" else c for c in text)
