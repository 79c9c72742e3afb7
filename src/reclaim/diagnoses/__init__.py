"""What fine-tuning damaged: one question per file, ``(before, after) -> Finding``, from two snapshots of the same rows.

A diagnosis that lacks what it needs (features, weights, absent rows) says so in its verdict and finds no damage.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Change", "Finding", "change", "diagnose"]


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        question: in plain words.
        value: the one number that answers it; None where it could not be measured.
        damaged: whether it is damage, beyond what chance explains.
        verdict: the answer in a sentence or two.
        evidence: the numbers behind it.
    """

    question: str
    value: float | None
    damaged: bool
    verdict: str
    evidence: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """The change of a mean over the same rows, and its standard error."""

    before: float
    after: float
    error: float

    @property
    def by(self) -> float:
        return self.after - self.before

    def fell(self) -> bool:
        """Whether it fell by more than chance explains (two standard errors)."""
        return self.by < -2 * self.error and self.by < 0

    def rose(self) -> bool:
        """Whether it rose by more than chance explains (two standard errors)."""
        return self.by > 2 * self.error and self.by > 0


def change(before: Tensor, after: Tensor) -> Change:
    """The change of the mean of [N] numbers or truth values, row by row."""
    before, after = before.double(), after.double()
    spread = float((after - before).std()) if len(before) > 1 else 0.0
    return Change(float(before.mean()), float(after.mean()), spread / max(1, len(before)) ** 0.5)


def diagnose(before: Snapshot, after: Snapshot) -> list[Finding]:
    """Ask every question of the folder.

    Raises: BadInput unless both snapshots hold the same labelled rows and classes.
    """
    if before.classes != after.classes or not torch.equal(before.seen, after.seen):
        raise BadInput("the two snapshots are about different classes, or different seen ones.")
    if before.labels is None or after.labels is None:
        raise BadInput("a diagnosis needs labelled rows; a snapshot has none.")
    if len(before) != len(after) or not torch.equal(before.labels, after.labels):
        raise BadInput(
            f"the two snapshots hold different rows ({len(before)} and {len(after)}).\n"
            "  Predict both models on the same split, in the same order."
        )
    return [find("diagnoses", name)(before, after) for name in names("diagnoses")]
