"""What a diagnosis found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

__all__ = ["Change", "Evidence", "Finding", "change"]

Evidence: TypeAlias = dict[str, float | int | str]


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
    evidence: Evidence = field(default_factory=dict)


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

    def answers(self, question: str, damaged: bool, verdict: str, evidence: Evidence) -> Finding:
        """The finding whose value is this change."""
        return Finding(question, self.by, damaged, verdict, evidence)

    def rose(self) -> bool:
        """Whether it rose by more than chance explains (two standard errors)."""
        return self.by > 2 * self.error and self.by > 0


def change(before: Tensor, after: Tensor) -> Change:
    """The change of the mean of [N] numbers or truth values, row by row."""
    before, after = before.double(), after.double()
    spread = float((after - before).std()) if len(before) > 1 else 0.0
    return Change(float(before.mean()), float(after.mean()), spread / max(1, len(before)) ** 0.5)
