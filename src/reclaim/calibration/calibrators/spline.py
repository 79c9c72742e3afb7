"""The largest probability, corrected by the slope of a spline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from reclaim.calibration.checks import check_number, check_tensor
from reclaim.calibration.fitting.nets import by_blocks, settled
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns, rejoin
from reclaim.core.arrays import A, as_tensor
from reclaim.core.errors import BadInput
from reclaim.core.numbers import Within, in_range

__all__ = ["Spline"]

_POINTS = 257  # of the table from scores to shifts
_GAP = 1e-2  # the share of its lead that the largest logit keeps


@dataclass(frozen=True)
class Spline:
    """Shift the largest probability by how much more often rows of its rank were right (spline calibration).

    Attributes:
        scores: [M], ascending largest probabilities after the best temperature.
        shifts: [M], what is added there; straight lines in between, constant outside.
        room: a shift leaves the other classes at least this much, unless they had less.
        scale: of all logits before, the inverse of the best temperature.
        fitted: its details are `nll_before`, `nll_temperature` (of the best single one), `nll`, `note`.

    Source: Gupta et al., "Calibration of Neural Networks using Splines", ICLR 2021.
    Differs: starts at the best temperature, and stays there if the spline would make the labels less likely. The paper
        recalibrates the largest probability alone; here the other ones are rescaled in proportion, so that rows sum to
        one, and the largest is floored: it keeps a hundredth of its lead in logits, so that the order stays. Rows whose
        largest logit is shared are not shifted. A table of 257 points stands for one of all rows. Absent classes take
        no part: the margin between the groups is kept row by row.
    """

    scores: Tensor = field(compare=False)
    shifts: Tensor = field(compare=False)
    room: float
    scale: float
    fitted: Fitted
    keeps_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_tensor("scores", self.scores, -1)
        check_tensor("shifts", self.shifts, len(self.scores))
        if not bool((self.scores.diff() >= 0).all()):
            raise BadInput("scores must ascend.")
        check_number("room", self.room, above=0)
        check_number("scale", self.scale, above=0)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        seen = check_columns(as_tensor(logits), self.fitted.seen, "spline")

        def change(z: Tensor) -> Tensor:
            return rejoin(z, seen, self._inside(z[:, seen] * self.scale), self.scale)

        return by_blocks(change, logits)

    def _inside(self, z: Tensor) -> Tensor:
        """[N, K] -> [N, K], over seen classes."""
        (top, second), where = z.topk(2)[0].split(1, dim=1), z.argmax(dim=1, keepdim=True)
        rest = (z - top).scatter(1, where, -torch.inf).logsumexp(dim=1, keepdim=True)
        score, others = torch.sigmoid(-rest), torch.sigmoid(rest)  # p of the largest and 1 - p, neither by subtraction
        shift = _between(self.scores.to(z), self.shifts.to(z), score)
        left = torch.maximum(others - shift, others.clamp_max(self.room))
        raised = torch.log((1 - left).clamp_min(self.room) / left) + rest
        lead = top - second
        raised = torch.where(left == others, 0.0, torch.maximum(raised, (_GAP - 1) * lead))
        return torch.where(lead > 0, z.scatter(1, where, top + raised), z)

    @classmethod
    @in_range
    def fit(
        cls, logits: Given, labels: Also = None, seen: Also = None, *, knots: Annotated[int, Within(2, 10_000)] = 6
    ) -> Spline:
        """The spline that takes the largest probability of [N, C] logits to how often [N] labels agree.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            knots: of the spline, evenly spaced over the ranks of the rows.

        Raises: BadInput if the rows cannot be used, or if there are fewer than two knots.
        """
        rows = calibration_rows(logits, labels, seen)
        found = best_beta(rows)
        scores, right = rows.per_row(2, lambda z, y: _top(z.double() * found.beta, y))
        x, shifts = _table(scores.cpu(), right.cpu(), knots)
        if found.note:
            shifts = torch.zeros_like(shifts)
        room = 1 / (len(rows) / (knots - 1) + 2)  # a piece of the spline cannot tell a rate from less than one row
        made = cls(x, shifts, room, found.beta, rows.fitted({}))
        return settled(made, replace(made, shifts=torch.zeros_like(shifts)), rows, found)


def _top(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability of each row [N], and whether it is the label's."""
    p, where = z.softmax(dim=1).max(dim=1)
    return p, where == y


def _table(scores: Tensor, right: Tensor, knots: int) -> tuple[Tensor, Tensor]:
    """Scores in ascending order and the spline's slope at their ranks, both [M]."""
    scores, order = scores.sort(stable=True)
    n = len(scores)
    rank = torch.arange(1, n + 1, dtype=torch.float64) / n
    excess = (right[order].double() - scores).cumsum(dim=0) / n
    weights = torch.linalg.lstsq(_natural(rank, knots), excess[:, None], driver="gelsd").solution
    at = torch.linspace(0, n - 1, min(n, _POINTS)).round().long()
    shifts = (_natural(rank[at], knots, slopes=True) @ weights).squeeze(1)
    x, group, count = scores[at].unique(return_inverse=True, return_counts=True)  # equal scores share their mean shift
    return x, torch.zeros_like(x).index_add(0, group, shifts) / count


def _natural(x: Tensor, knots: int, *, slopes: bool = False) -> Tensor:
    """The basis [N, knots] of natural cubic splines over [0, 1], or its slopes."""
    at = torch.linspace(0, 1, knots, dtype=x.dtype)
    above = (x[:, None] - at).clamp_min_(0)
    parts = above.pow(2).mul_(3) if slopes else above.pow(3)
    value = (parts[:, :-1] - parts[:, -1:]).div_(at[-1] - at[:-1])
    one = torch.ones_like(x)[:, None]
    line = [0 * one, one] if slopes else [one, x[:, None]]
    return torch.cat([*line, value[:, :-1] - value[:, -1:]], dim=1)


def _between(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Straight lines through the points (x, y), constant outside."""
    if len(x) == 1:
        return y.expand_as(at)
    after = torch.bucketize(at, x).clamp(1, len(x) - 1)
    share = ((at - x[after - 1]) / (x[after] - x[after - 1])).clamp(0, 1)
    return y[after - 1] * (1 - share) + y[after] * share
