"""A matrix and a bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from reclaim.calibration.checks import check_numbers, check_per_class, check_tensor
from reclaim.calibration.fitting.group_balance import balanced
from reclaim.calibration.fitting.penalties import full
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns, spread
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_tensor
from reclaim.core.numbers import NotNegative, in_range

__all__ = ["Matrix"]


@dataclass(frozen=True)
class Matrix:
    """Mix the logits of all classes by a matrix (matrix scaling).

    Attributes:
        weights: [K, K] over seen classes; row i makes the logit of class i.
        biases: one number per seen class.
        rest: factor and shift of every absent class: the line that keeps the balance between the groups best.
        fitted: its details are `nll`, `gradient`, `iterations`, `converged`, `off_diagonal`, `intercept`, `temperature`
            (the start), `share` (how much of the way from there was gone), `note`.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; the penalties (ODIR): Kull et al.,
        "Beyond temperature scaling", NeurIPS 2019.
    Differs: the penalties act on the map after the best temperature, so that they have no units, and are by default
        chosen by cross-validation inside the rows; the diagonal has a ridge towards that temperature, as wide as
        theirs. L-BFGS runs in the eigenbasis of the Hessian's Kronecker factors; with many classes it stops after a few
        steps (`converged` says so). Absent classes move together, by the line along which the largest seen logits
        moved, and the map goes only as far as that leaves the balance between the groups (`share`).
    """

    weights: Tensor = field(compare=False)
    biases: tuple[float, ...]
    rest: tuple[float, float]
    fitted: Fitted
    keeps_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        size = sum(self.fitted.seen)
        check_tensor("weights", self.weights, size, size)
        check_per_class(self.fitted, biases=self.biases)
        check_numbers("rest", self.rest, 2)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        check_columns(as_tensor(logits), self.fitted.seen, "matrix")
        return self.affine()(logits)

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The same as an affine map, over `classes`."""
        inner = Affine(self.weights, torch.tensor(self.biases))
        return spread(inner, self.rest, self.fitted, classes)

    @classmethod
    @in_range
    def fit(
        cls,
        logits: Given,
        labels: Also = None,
        seen: Also = None,
        *,
        off_diagonal: NotNegative | None = None,
        intercept: NotNegative | None = None,
    ) -> Matrix:
        """The matrix and biases under which [N, C] logits make [N] labels most likely.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            off_diagonal: strength of the penalty on the mean square of the entries off the diagonal. None: chosen by
                cross-validation.
            intercept: strength of the penalty on the mean square of the biases. None: chosen likewise.

        Raises: BadInput if the rows cannot be used, or are fewer than the numbers to fit.
        """
        rows = calibration_rows(logits, labels, seen, parameters_per_class=2, safer="temperature or vector")
        beta = best_beta(rows).beta
        made, strengths = full(rows, beta, off_diagonal, intercept)
        kept = balanced(rows, Affine((made.scale * beta).float(), made.shift.float()), beta)
        return cls(
            weights=kept.inner.scale,
            biases=tuple(kept.inner.shift.tolist()),
            rest=kept.rest,
            fitted=rows.fitted(made.details() | strengths | {"temperature": 1 / beta} | kept.details(rows)),
        )
