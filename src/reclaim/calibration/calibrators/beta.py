"""A beta map for every class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from reclaim.calibration.checks import check_number, check_per_class
from reclaim.calibration.fitting.probabilities import binary_newton, inside_probabilities, joined, log_odds
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows
from reclaim.core.arrays import A

__all__ = ["Beta"]


@dataclass(frozen=True)
class Beta:
    """Map every class's probability by ``log odds = a ln p - b ln(1 - p) + c``, one class against the rest.

    Attributes:
        temperature: the best one, T; probabilities are the softmax of logits divided by it.
        a, b, c: one number per seen class; a, b >= 0. A class without a row keeps a = b = 1, c = 0.
        fitted: its details are `nll_temperature` (of the best single one), `note`.

    Source: Kull, Silva Filho & Flach, "Beta calibration", AISTATS 2017.
    Differs: starts at the best temperature, and stays there if all rows are right, or worse than chance. All classes at
        once, by Newton steps; a wide prior around the identity keeps classes finite that are told apart without error.
        Probabilities of seen classes are divided by their sum; the margin between the groups is divided by the
        temperature, row by row.
    """

    temperature: float
    a: tuple[float, ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    fitted: Fitted
    keeps_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_per_class(self.fitted, a=self.a, b=self.b, least=0)
        check_per_class(self.fitted, c=self.c)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z, seen, p = inside_probabilities(logits, self.fitted.seen, "beta map", self.temperature)
        a, b, c = (torch.tensor(part, dtype=p.dtype, device=p.device) for part in (self.a, self.b, self.c))
        log_p, log_rest = log_odds(p, 2)
        return joined(logits, z, seen, (a * log_p + b * log_rest + c).sigmoid(), scale=1 / self.temperature)

    @classmethod
    def fit(cls, logits: Given, labels: Also = None, seen: Also = None) -> Beta:
        """The maps under which each class's probability [N, C] best tells whether the label [N] is that class.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.

        Raises: BadInput if the rows cannot be used, or are fewer than three per class on average.
        """
        rows = calibration_rows(logits, labels, seen, parameters_per_class=3)
        found = best_beta(rows)
        regression = partial(binary_newton, rows, slopes=2, temperature=1 / found.beta)
        made = regression()
        if not (active := made[:, :2] >= 0).all():  # a slope below zero turns the order round: leave that input out
            made = regression(active=active)
            made[:, :2].clamp_(min=0)
        made[(rows.counts() == 0) | bool(found.note)] = made.new_tensor([1.0, 1.0, 0.0])
        a, b, c = (tuple(part.tolist()) for part in made.T)
        details = {"nll_temperature": found.nll, "note": found.note}
        return cls(1 / found.beta, a, b, c, rows.fitted(details))
