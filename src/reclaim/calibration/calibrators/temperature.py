"""One number for all logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from reclaim.calibration.checks import check_number
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns, spread
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_kind, as_tensor

__all__ = ["Temperature"]


@dataclass(frozen=True)
class Temperature:
    """Divide all logits by one temperature.

    Attributes:
        temperature: T > 0; above 1 the model was too confident.
        fitted: its details are `nll`, `gradient` (by log T), `passes`, `note`.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    Differs: solved for 1/T, in which the likelihood is convex, by Newton steps to convergence; the published code takes
        one L-BFGS call whose T can cross zero. Fitted on the softmax over seen classes, so that the rows' lack of
        absent ones does not raise the confidence. Order and decisions do not change, of any class.
    """

    temperature: float
    fitted: Fitted
    keeps_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z = as_tensor(logits)
        check_columns(z, self.fitted.seen, "temperature")
        return as_kind(z / self.temperature, logits)

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The same as an affine map, over `classes`."""
        beta, k = 1 / self.temperature, sum(self.fitted.seen)
        return spread(Affine(torch.full((k,), beta), torch.zeros(k)), (beta, 0.0), self.fitted, classes)

    @classmethod
    def fit(cls, logits: Given, labels: Also = None, seen: Also = None) -> Temperature:
        """The temperature under which [N, C] logits make [N] labels most likely.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.

        Raises: BadInput if the rows cannot be used.
        """
        rows = calibration_rows(logits, labels, seen)
        found = best_beta(rows)
        return cls(1 / found.beta, rows.fitted(found.details()))
