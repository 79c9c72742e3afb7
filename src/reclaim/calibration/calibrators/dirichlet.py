"""A matrix and a bias on logarithmic probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from reclaim.calibration.checks import check_number, check_per_class, check_tensor
from reclaim.calibration.fitting.penalties import full
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns, rejoin
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_kind, as_tensor
from reclaim.core.numbers import NotNegative, in_range

__all__ = ["Dirichlet"]


@dataclass(frozen=True)
class Dirichlet:
    """Mix the logarithmic probabilities of all classes by a matrix (Dirichlet calibration).

    Attributes:
        weights: [K, K] over seen classes; row i makes the logit of class i.
        biases: one number per seen class.
        scale: of absent logits and of the margin between the groups, the inverse of the best temperature.
        fitted: its details are `nll`, `gradient`, `iterations`, `converged`, `off_diagonal`, `intercept`, `temperature`
            (the start).

    Source: Kull et al., "Beyond temperature scaling: Obtaining well-calibrated multi-class probabilities with Dirichlet
        calibration", NeurIPS 2019.
    Differs: no reference row is subtracted, so that no class is special and a large penalty gives a diagonal map; the
        penalties act on the map after the best temperature and are by default chosen by cross-validation inside the
        rows; the diagonal has a ridge towards that temperature, as wide as theirs. Absent classes take no part: the
        margin between the groups is kept row by row.
    """

    weights: Tensor = field(compare=False)
    biases: tuple[float, ...]
    scale: float
    fitted: Fitted
    keeps_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        size = sum(self.fitted.seen)
        check_tensor("weights", self.weights, size, size)
        check_per_class(self.fitted, biases=self.biases)
        check_number("scale", self.scale, above=0)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z = as_tensor(logits)
        seen = check_columns(z, self.fitted.seen, "Dirichlet map")
        log_p = z[:, seen].to(torch.promote_types(z.dtype, torch.float32)).log_softmax(dim=1)
        inside = Affine(self.weights, torch.tensor(self.biases)).of(log_p)
        return as_kind(rejoin(z, seen, inside, self.scale), logits)

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
    ) -> Dirichlet:
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
        made, strengths = full(rows, beta, off_diagonal, intercept, log_softmax=True)
        inner = Affine((made.scale * beta).float(), made.shift.float())
        return cls(
            weights=inner.scale,
            biases=tuple(inner.shift.tolist()),
            scale=beta,
            fitted=rows.fitted(made.details() | strengths | {"temperature": 1 / beta}),
        )
