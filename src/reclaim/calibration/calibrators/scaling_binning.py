"""Platt's map, then bins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from reclaim.calibration.checks import check_functions, check_number, check_per_class
from reclaim.calibration.fitting.knots import Knots, bin_means
from reclaim.calibration.fitting.probabilities import (
    binary_newton,
    class_by_class,
    inside_probabilities,
    joined,
    log_odds,
    traced,
)
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows
from reclaim.core.arrays import A
from reclaim.core.numbers import Few, in_range

__all__ = ["ScalingBinning"]


@dataclass(frozen=True)
class ScalingBinning:
    """Map every class's log odds by a line, then take the mean of the mapped probabilities in a bin.

    Attributes:
        temperature: the best one, T; probabilities are the softmax of logits divided by it.
        slopes, intercepts: Platt's line, one per seen class.
        edges, values: of all classes' bins, one class after the other: upper edges and means.
        sizes: bins of each seen class.
        fitted: its details are `nll_temperature` (of the best single one), `note`.

    Source: Kumar, Liang & Ma, "Verified Uncertainty Calibration", NeurIPS 2019.
    Differs: starts at the best temperature, with the identity for lines if all rows are right, or worse than chance. A
        trace (0.01) of the mapped probability is kept, so that the order inside a bin survives; a wide prior around
        the identity keeps lines finite. Divided by the sum over seen classes; the margin between the groups is divided
        by the temperature, row by row. Half of the cuts between bins part the rows evenly, half the sum of the
        probabilities, so that with many classes the large ones are told apart.
    """

    temperature: float
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    edges: Tensor = field(compare=False)
    values: Tensor = field(compare=False)
    sizes: tuple[int, ...]
    fitted: Fitted
    keeps_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_functions(self.edges, self.values, self.sizes, steps=True)
        check_per_class(self.fitted, slopes=self.slopes, least=0)
        check_per_class(self.fitted, intercepts=self.intercepts, sizes=self.sizes)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z, seen, p = inside_probabilities(logits, self.fitted.seen, "scaling-binning map", self.temperature)
        slopes, intercepts = (p.new_tensor(part) for part in (self.slopes, self.intercepts))
        lined = (log_odds(p, 1)[0] * slopes + intercepts).sigmoid()
        made = Knots(self.edges, self.values, self.sizes).steps(lined)
        return joined(logits, z, seen, traced(made, lined), scale=1 / self.temperature)

    @classmethod
    @in_range
    def fit(cls, logits: Given, labels: Also = None, seen: Also = None, *, bins: Few = 15) -> ScalingBinning:
        """The lines that fit [N] labels best, and bins of what they make of [N, C] logits.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            bins: per class; fewer where values are equal.

        Raises: BadInput if the rows cannot be used, or are fewer than two per class on average.
        """
        rows = calibration_rows(logits, labels, seen, parameters_per_class=2)
        found = best_beta(rows)
        line = binary_newton(rows, slopes=1, temperature=1 / found.beta)
        line[bool(found.note) | (rows.counts() == 0) | (line[:, 0] <= 0)] = line.new_tensor([1.0, 0.0])
        functions = []
        for p, (factor, shift) in zip(class_by_class(rows, 1 / found.beta), line, strict=True):
            lined = (log_odds(p, 1)[0] * factor + shift).sigmoid()
            functions.append(bin_means(lined, lined, bins))
        made = Knots.of(functions)
        slopes, intercepts = (tuple(part.tolist()) for part in line.T)
        fitted = rows.fitted({"nll_temperature": found.nll, "note": found.note})
        return cls(1 / found.beta, slopes, intercepts, made.x, made.y, made.sizes, fitted)
