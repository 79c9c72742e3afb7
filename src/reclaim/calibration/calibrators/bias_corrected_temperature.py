"""One temperature and a bias for every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from reclaim.calibration.checks import check_number, check_per_class
from reclaim.calibration.fitting.group_balance import balanced
from reclaim.calibration.fitting.penalties import ridged
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns, spread
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_tensor
from reclaim.core.numbers import NotNegative, in_range

__all__ = ["BiasCorrectedTemperature"]


@dataclass(frozen=True)
class BiasCorrectedTemperature:
    """Divide by one temperature and shift every class's logit (BCTS).

    Attributes:
        temperature: T > 0.
        biases: one number per seen class.
        rest: the shift of every absent class: what the largest seen logits gained on average.
        fitted: its details are `nll`, `gradient`, `iterations`, `converged`, `ridge`, `temperature` (the start),
            `share` (how much of the way from there was gone), `note`.

    Source: Alexandari et al., "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift
        Adaptation", ICML 2020.
    Differs: a ridge on biases, by default chosen by cross-validation inside the rows, keeps the bias of a class with
        few rows finite. Absent classes move together, and the biases go only as far as that leaves the balance
        between the groups (`share`).
    """

    temperature: float
    biases: tuple[float, ...]
    rest: float
    fitted: Fitted
    keeps_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_per_class(self.fitted, biases=self.biases)
        check_number("rest", self.rest)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        check_columns(as_tensor(logits), self.fitted.seen, "bias-corrected temperature")
        return self.affine()(logits)

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The same as an affine map, over `classes`."""
        beta = 1 / self.temperature
        inner = Affine(torch.full((len(self.biases),), beta), torch.tensor(self.biases))
        return spread(inner, (beta, self.rest), self.fitted, classes)

    @classmethod
    @in_range
    def fit(
        cls, logits: Given, labels: Also = None, seen: Also = None, *, ridge: NotNegative | None = None
    ) -> BiasCorrectedTemperature:
        """The temperature and biases under which [N, C] logits make [N] labels most likely.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            ridge: strength of the pull towards the best temperature, on the mean square of the biases. None: chosen by
                cross-validation; 0: none.

        Raises: BadInput if the rows cannot be used, or are fewer than the numbers to fit.
        """
        rows = calibration_rows(logits, labels, seen, parameters_per_class=1)
        beta = best_beta(rows).beta
        made, ridge = ridged(rows, beta, ridge, scales=False)
        kept = balanced(rows, Affine(made.scale * beta, made.shift), beta, one_slope=True)
        return cls(
            temperature=1 / float(kept.inner.scale[0]),
            biases=tuple(kept.inner.shift.tolist()),
            rest=kept.rest[1],
            fitted=rows.fitted(made.details() | {"ridge": ridge, "temperature": 1 / beta} | kept.details(rows)),
        )
