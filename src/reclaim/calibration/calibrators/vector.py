"""A factor and a bias for every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from reclaim.calibration.checks import check_numbers, check_per_class
from reclaim.calibration.fitting.group_balance import balanced
from reclaim.calibration.fitting.penalties import ridged
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns, spread
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_tensor
from reclaim.core.numbers import NotNegative, in_range

__all__ = ["Vector"]


@dataclass(frozen=True)
class Vector:
    """Scale and shift every class's logit (vector scaling).

    Attributes:
        weights, biases: one number per seen class.
        rest: factor and shift of every absent class: the line that keeps the balance between the groups best.
        fitted: its details are `nll`, `gradient`, `iterations`, `converged`, `ridge`, `temperature` (the start),
            `share` (how much of the way from there was gone), `note`.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    Differs: starts at the best temperature and is pulled towards it by a ridge, by default chosen by cross-validation
        inside the rows. Absent classes move together, by the line along which the largest seen logits moved,
        and the map goes only as far as that leaves the balance between the groups (`share`).
    """

    weights: tuple[float, ...]
    biases: tuple[float, ...]
    rest: tuple[float, float]
    fitted: Fitted
    keeps_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_per_class(self.fitted, weights=self.weights, biases=self.biases)
        check_numbers("rest", self.rest, 2)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        check_columns(as_tensor(logits), self.fitted.seen, "vector")
        return self.affine()(logits)

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The same as an affine map, over `classes`."""
        inner = Affine(torch.tensor(self.weights), torch.tensor(self.biases))
        return spread(inner, self.rest, self.fitted, classes)

    @classmethod
    @in_range
    def fit(cls, logits: Given, labels: Also = None, seen: Also = None, *, ridge: NotNegative | None = None) -> Vector:
        """The weights and biases under which [N, C] logits make [N] labels most likely.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            ridge: strength of the pull towards the best temperature, on the mean square of (weight / temperature's - 1)
                and of the biases. None: chosen by cross-validation; 0: none.

        Raises: BadInput if the rows cannot be used, or are fewer than the numbers to fit.
        """
        rows = calibration_rows(logits, labels, seen, parameters_per_class=2)
        beta = best_beta(rows).beta
        made, ridge = ridged(rows, beta, ridge, scales=True)
        kept = balanced(rows, Affine(made.scale * beta, made.shift), beta)
        return cls(
            weights=tuple(kept.inner.scale.tolist()),
            biases=tuple(kept.inner.shift.tolist()),
            rest=kept.rest,
            fitted=rows.fitted(made.details() | {"ridge": ridge, "temperature": 1 / beta} | kept.details(rows)),
        )
