"""A monotone function of probability."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from reclaim.calibration.checks import check_functions, check_number, check_per_class
from reclaim.calibration.fitting.knots import Knots
from reclaim.calibration.fitting.probabilities import class_by_class, cooled, inside_probabilities, joined, traced
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, Rows, calibration_rows
from reclaim.core.arrays import A, by_numpy
from reclaim.core.errors import Argument
from reclaim.core.numbers import in_range

__all__ = ["Isotonic"]

_EXACT = 1 << 17  # pairs of row and class; more are first gathered in narrow bins
_LEAST = 1e-30  # probabilities below count as this one: slopes between smaller ones would overflow
_SHIFT = 13  # bits of a float32 that a bin ignores: bins are 0.1 % wide


@dataclass(frozen=True)
class Isotonic:
    """Map probabilities by the best function that never falls: one for all classes, or one per class.

    Attributes:
        temperature: the best one, T; probabilities are the softmax of logits divided by it.
        x, y: the points of all functions, one after the other.
        sizes: points of each function; one function, or one per seen class.
        fitted: its details are `nll_temperature` (of the best single one), `note`.

    Source: Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002;
        the shared function: Zhang, Kailkhura & Han, "Mix-n-Match", ICML 2020.
    Differs: starts at the best temperature, and stays there if all rows are right, or worse than chance. Straight lines
        between the points; a trace (0.01) of the cooled probability is kept, so that order and zeros survive. With
        more than 131,072 pairs the shared function is fitted to bins 0.1 % wide. Divided by the sum over seen classes;
        the margin between the groups is divided by the temperature, row by row.
    """

    temperature: float
    x: Tensor = field(compare=False)
    y: Tensor = field(compare=False)
    sizes: tuple[int, ...]
    fitted: Fitted
    keeps_order: ClassVar[bool] = True  # the shared function, which is the default

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_functions(self.x, self.y, self.sizes)
        if len(self.sizes) != 1:
            check_per_class(self.fitted, sizes=self.sizes)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z, seen, p = inside_probabilities(logits, self.fitted.seen, "isotonic map", self.temperature)
        made = traced(Knots(self.x, self.y, self.sizes).lines(p.clamp_min(_LEAST)), p)
        return joined(logits, z, seen, made, keep_top=len(self.sizes) == 1, scale=1 / self.temperature)

    @classmethod
    @in_range
    def fit(
        cls, logits: Given, labels: Also = None, seen: Also = None, *, kind: Literal["shared", "one-vs-rest"] = "shared"
    ) -> Isotonic:
        """The monotone functions of the probabilities of [N, C] logits that come nearest to [N] labels.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            kind: one function for all classes, which keeps the order, or one per class against the rest.

        Raises: BadInput if the rows cannot be used, or for one-vs-rest are fewer than two per class on average.
        """
        rows = calibration_rows(
            logits,
            labels,
            seen,
            parameters_per_class=2 if kind == "one-vs-rest" else 0,
            safer=Argument("kind", "the safer method here", "shared"),
        )
        found, ends = best_beta(rows), torch.tensor([0.0, 1.0])
        if found.note:
            functions = [(ends, ends)] * (1 if kind == "shared" else rows.num_classes)
        elif kind == "shared":
            gathered = _pairs if len(rows) * rows.num_classes <= _EXACT else _bins
            functions = [_pool(*gathered(rows, found.beta))]
        else:
            columns = zip(class_by_class(rows, 1 / found.beta), rows.counts().tolist(), strict=True)
            functions = [
                _pool(*_weighed(p.clamp_min(_LEAST), (rows.labels == k).double())) if count else (ends, ends)
                for k, (p, count) in enumerate(columns)
            ]
        made, details = Knots.of(functions), {"nll_temperature": found.nll, "note": found.note}
        return cls(1 / found.beta, made.x, made.y, made.sizes, rows.fitted(details))


def _pairs(rows: Rows, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    z, y = rows.inside()
    hit = torch.zeros_like(z).scatter_(1, y[:, None], 1.0)
    return _weighed(cooled(z, 1 / beta).clamp_min(_LEAST).reshape(-1), hit.double().reshape(-1))


def _weighed(p: Tensor, hit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct values of p in ascending order, how often each is hit on average, and how often it occurs."""
    x, index, count = p.unique(return_inverse=True, return_counts=True)
    return x, p.new_zeros(len(x)).index_add_(0, index, hit) / count, count.double()


def _bins(rows: Rows, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same, with the probabilities of a narrow bin as one value: its lower end."""
    size = (0x3F800000 >> _SHIFT) + 1  # the bits of 1.0
    count, hits = rows.labels.new_zeros(2, size)
    for z, y in rows.blocks():
        index = z.mul(beta).softmax(dim=1).float().view(torch.int32) >> _SHIFT
        count += torch.bincount(index.reshape(-1), minlength=size)
        hits += torch.bincount(index.gather(1, y[:, None]).squeeze(1), minlength=size)
    full = count.nonzero().squeeze(1)
    x = (full << _SHIFT).int().view(torch.float32).double()
    return x, hits[full] / count[full].double(), count[full].double()


def _pool(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Pool adjacent violators; only the two ends of every level piece are kept."""
    level = by_numpy(_regression, y, weight)
    change = level[1:] != level[:-1]
    ends = torch.ones_like(x, dtype=torch.bool)
    ends[1:-1] = change[:-1] | change[1:]
    return x[ends], level[ends]


def _regression(y: np.ndarray[Any, Any], weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(isotonic_regression(y, sample_weight=weight))
