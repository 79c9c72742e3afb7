"""Plain files in, classes and probabilities out."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from reclaim.core.checks import check_logits
from reclaim.core.errors import BadInput, few
from reclaim.core.inference import Inference
from reclaim.core.numbers import Count, Share, in_range
from reclaim.data.guesses import Columns
from reclaim.data.load import drop_unreadable
from reclaim.data.plain_files import plain_files
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.head import traced
from reclaim.models.passes import pass_over

__all__ = ["Answer", "classify"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a model answers to one example.

    Attributes:
        name: of the example: its file, with the line or row of a text.
        probability: of the likeliest class, whether it is answered or not.
        top: the likeliest classes with their probabilities; none where the row is left unanswered.
    """

    name: str
    probability: float
    top: tuple[tuple[str, float], ...]

    @property
    def answer(self) -> str | None:
        """The likeliest class; None where the row is left unanswered."""
        return self.top[0][0] if self.top else None


@in_range
def classify(
    model: Classifier,
    files: Sequence[str | Path],
    *,
    top: Count = 1,
    abstain_below: Share = 0.0,
    columns: Columns = Columns(),
    skip_bad: bool = False,
    inference: Inference = Inference(),
) -> tuple[Answer, ...]:
    """Classify images, folders of images, texts (a line each) or tables; no labels, no class folders.

    Args:
        top: how many classes are answered, the likeliest first.
        abstain_below: a row whose likeliest class has a smaller probability is left unanswered.
        columns: of tables, which one holds the examples.
        skip_bad: leave out examples that cannot be read, and say so.
        inference: batch size, workers, device, precision.

    Raises: BadInput if a file is not there or cannot be read, or is of another kind than the model takes.
    """
    given = plain_files(files, columns)
    for one in given.left_out:
        log.warning("left out: %d %s (%s)", one.count, one.why, few(one.names, 3))
    for note in given.notes:
        log.info("%s", note)
    rows = _readable(given.rows) if skip_bad else given.rows
    classes = _classes(model)
    data = Data(classes, {"all": rows}, torch.ones(len(classes), dtype=torch.bool))
    network = replace(traced(model, data), classes=classes)
    answers: list[Answer] = []

    def take(first: int, z: Tensor, _: Tensor) -> None:
        check_logits(z, first)
        values, columns = z.double().softmax(dim=1).topk(min(top, z.shape[1]))
        for row, (p, where) in enumerate(zip(values.tolist(), columns.tolist(), strict=True), start=first):
            likeliest = tuple((classes[column], one) for column, one in zip(where, p, strict=True))
            answers.append(Answer(rows.name(row), p[0], () if p[0] < abstain_below else likeliest))

    pass_over(network, rows, classes, take, inference, what="classify")
    return tuple(answers)


def _readable(rows: Split) -> Split:
    kept, bad = drop_unreadable(rows)
    for name in bad:
        log.warning("left out, because it cannot be read: %s", name)
    if not len(kept):
        raise BadInput(f"none of {len(bad)} examples can be read: {few(bad)}.")
    return kept


def _classes(model: Classifier) -> tuple[str, ...]:
    """The names of the outputs, in words where there are some; their numbers where they have none, which is said."""
    if model.classes:
        return model.classes
    words = [naming for naming in model.namings if not all(re.fullmatch(r"n\d{8}", name) for name in naming)]
    if words or model.namings:
        return (*words, *model.namings)[0]
    log.warning(
        "the outputs of the model %r have no names, and are called by their numbers; name them with the argument "
        "`classes`.",
        model.name,
    )
    return tuple(map(str, range(model.num_outputs)))
