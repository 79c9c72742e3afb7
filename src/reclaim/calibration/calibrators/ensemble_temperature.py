"""Three temperatures at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import minimize

from reclaim.calibration.checks import check_number, check_numbers
from reclaim.calibration.fitting.probabilities import cooled, inside_probabilities, joined
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows
from reclaim.core.arrays import A, as_numpy
from reclaim.core.errors import BadInput

__all__ = ["EnsembleTemperature"]


@dataclass(frozen=True)
class EnsembleTemperature:
    """Mix the probabilities at the best temperature, at temperature 1 and equal ones (ETS).

    Attributes:
        temperature: T of the first part.
        weights: of the three parts; they sum to one.
        fitted: its details are `nll_temperature`, `nll`.

    Source: Zhang, Kailkhura & Han, "Mix-n-Match: Ensemble and Compositional Methods for Uncertainty Calibration in Deep
        Learning", ICML 2020.
    Differs: the weights minimise the likelihood's loss, where the published code always takes the squared error. Mixed
        over seen classes; absent ones keep their margin to them, at the first temperature.
    """

    temperature: float
    weights: tuple[float, float, float]
    fitted: Fitted
    keeps_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_numbers("weights", self.weights, 3, least=0)
        if abs(sum(self.weights) - 1) > 1e-3:
            raise BadInput(f"weights must sum to one; given: {list(self.weights)}.")

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z, seen, p = inside_probabilities(logits, self.fitted.seen, "ensemble temperature")
        first, second, third = self.weights
        mixed = first * cooled(z[:, seen], self.temperature) + second * p + third / p.shape[1]
        return joined(logits, z, seen, mixed, keep_top=True, scale=1 / self.temperature)

    @classmethod
    def fit(cls, logits: Given, labels: Also = None, seen: Also = None) -> EnsembleTemperature:
        """The temperature and the weights under which [N, C] logits make [N] labels most likely.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.

        Raises: BadInput if the rows cannot be used.
        """
        rows = calibration_rows(logits, labels, seen)
        beta = best_beta(rows).beta
        own = rows.per_row(
            2, lambda z, y: [(z * b).log_softmax(dim=1).gather(1, y[:, None]).squeeze(1) for b in (beta, 1.0)]
        ).exp_()
        parts = as_numpy(torch.cat([own, own.new_full((1, len(rows)), 1 / rows.num_classes)])).T
        tiny = np.finfo(np.float64).tiny

        def loss(w: Any) -> tuple[float, Any]:
            mixed = np.maximum(parts @ w, tiny)
            return float(-np.log(mixed).mean()), -(parts / mixed[:, None]).mean(axis=0)

        corners = [np.eye(3)[0], np.array([0.98, 0.01, 0.01])]
        found = minimize(
            loss,
            corners[1],
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(3)},
            options={"ftol": 1e-12, "maxiter": 200},
        ).x
        found = np.where(found < 1e-9, 0.0, found)  # dust would put a floor under every probability
        found /= found.sum()
        best = min((corners[0], found), key=lambda w: loss(w)[0])
        details = {"nll_temperature": loss(corners[0])[0], "nll": loss(best)[0]}
        first, second, third = (float(w) for w in best)
        return cls(1 / beta, (first, second, third), rows.fitted(details))
