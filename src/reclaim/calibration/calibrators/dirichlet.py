"""A matrix and a bias on logarithmic probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from reclaim.calibration.fitting.penalties import full, record
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.rows import calibration_rows, check_columns, mapped, rejoin
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, Array, as_kind, as_tensor

__all__ = ["Dirichlet"]


@dataclass(frozen=True)
class Dirichlet:
    """Mix the logarithmic probabilities of all classes by a matrix (Dirichlet calibration).

    Attributes:
        weights: [K, K] over seen classes; row i makes the logit of class i.
        biases: one number per seen class.
        scale: of absent logits and of the margin between the groups, the inverse of the best temperature.
        seen, classes: one bool and one name per class.
        fitted_on: data and split of the rows; empty if unknown.
        details: `nll`, `gradient`, `iterations`, `converged`, `off_diagonal`, `intercept`, `temperature` (the start).

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
    seen: tuple[bool, ...]
    classes: tuple[str, ...] = ()
    fitted_on: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    keeps_order: ClassVar[bool] = False

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z = as_tensor(logits)
        seen = check_columns(z, self.seen, "Dirichlet map")
        log_p = z[:, seen].to(torch.promote_types(z.dtype, torch.float32)).log_softmax(dim=1)
        inside = mapped(Affine(self.weights, torch.tensor(self.biases)), log_p)
        return as_kind(rejoin(z, seen, inside, self.scale), logits)

    @classmethod
    def fit(
        cls,
        logits: Array,
        labels: Array,
        seen: Array | None = None,
        *,
        off_diagonal: float | None = None,
        intercept: float | None = None,
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
            seen=tuple(rows.seen.tolist()),
            details=record(made, **strengths, temperature=1 / beta),
        )
