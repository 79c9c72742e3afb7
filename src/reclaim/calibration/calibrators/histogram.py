"""Bins of probability for every class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from reclaim.calibration.checks import check_functions, check_number, check_per_class
from reclaim.calibration.fitting.knots import Knots, bin_means
from reclaim.calibration.fitting.probabilities import class_by_class, inside_probabilities, joined, traced
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows
from reclaim.core.arrays import A
from reclaim.core.numbers import Few, in_range

__all__ = ["Histogram"]


@dataclass(frozen=True)
class Histogram:
    """Replace every class's probability by its frequency in a bin, one class against the rest.

    Attributes:
        temperature: the best one, T; probabilities are the softmax of logits divided by it.
        edges, values: of all classes' bins, one class after the other: upper edges and frequencies.
        sizes: bins of each seen class.
        fitted: its details are `nll_temperature` (of the best single one), `note`.

    Source: Zadrozny & Elkan, "Obtaining calibrated probability estimates from decision trees and naive Bayesian
        classifiers", ICML 2001.
    Differs: starts at the best temperature, and stays there if all rows are right, or worse than chance. A trace
        (0.01) of the cooled probability is kept, so that no row is all zero and the order inside a bin survives; a
        class without a row keeps its probability. Half of the cuts between bins part the rows evenly, half the sum of
        the probabilities: bins of equally many rows alone would throw all large ones together where classes are many.
        Divided by the sum over seen classes; the margin between the groups is divided by the temperature, row by row.
    """

    temperature: float
    edges: Tensor = field(compare=False)
    values: Tensor = field(compare=False)
    sizes: tuple[int, ...]
    fitted: Fitted
    keeps_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_functions(self.edges, self.values, self.sizes, steps=True, missing=True)
        check_per_class(self.fitted, sizes=self.sizes)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z, seen, p = inside_probabilities(logits, self.fitted.seen, "histogram", self.temperature)
        made = Knots(self.edges, self.values, self.sizes).steps(p)
        return joined(logits, z, seen, traced(torch.where(made.isnan(), p, made), p), scale=1 / self.temperature)

    @classmethod
    @in_range
    def fit(cls, logits: Given, labels: Also = None, seen: Also = None, *, bins: Few = 15) -> Histogram:
        """The frequencies of [N] labels in bins of the probabilities of [N, C] logits.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            bins: per class; fewer where values are equal.

        Raises: BadInput if the rows cannot be used, or are fewer than two per class on average.
        """
        rows = calibration_rows(logits, labels, seen, parameters_per_class=2)
        found = best_beta(rows)
        functions, counts = [], rows.counts().tolist()
        for k, (p, count) in enumerate(zip(class_by_class(rows, 1 / found.beta), counts, strict=True)):
            if not count or found.note:  # nan stands for the probability itself
                functions.append((torch.tensor([torch.inf]), torch.tensor([torch.nan])))
                continue
            functions.append(bin_means(p, rows.labels == k, bins))
        made = Knots.of(functions)
        details = {"nll_temperature": found.nll, "note": found.note}
        return cls(1 / found.beta, made.x, made.y, made.sizes, rows.fitted(details))
