"""The balance between seen and absent classes under an affine map of the seen logits.

Absent logits follow such a map along one line. What that does to the balance is judged on the rows themselves: what
becomes of seen rows beside the real absent logits, and of rows whose own class is made absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reclaim.calibration.fitting.affine import mean_nll
from reclaim.calibration.fitting.penalties import scaled
from reclaim.calibration.rows import Rows
from reclaim.core.affine import Affine
from reclaim.snapshots.metrics.margins import group_bests

__all__ = ["Balanced", "balanced"]

_MOST = 0.005  # of the rows, that may be lost to the other group
_SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.0)


@dataclass(frozen=True)
class Balanced:
    """A map that leaves the balance between the groups where it was.

    Attributes:
        inner: of the seen logits.
        rest: scale and shift of every absent logit.
        share: of the way from the best temperature to the map that was asked for.
    """

    inner: Affine
    rest: tuple[float, float]
    share: float

    def details(self, rows: Rows) -> dict[str, Any]:
        """For a calibrator's `details`: the share, and where it is not all, why and what the rest makes of the rows."""
        if self.share == 1:
            return {"share": 1.0, "note": ""}
        note = (
            f"only {self.share:g} of the way from the best temperature was gone: "
            "further would have moved the balance between seen and absent classes"
        )
        return {
            "share": self.share,
            "nll": mean_nll(scaled(rows, 1.0), self.inner.scale, self.inner.shift),
            "note": note,
        }


@dataclass(frozen=True)
class _Tops:
    """Logits of each row, [N] float64: of its own class, the largest of the other seen ones, the largest absent one."""

    own: Tensor
    others: Tensor
    absent: Tensor

    def lost(self, after: _Tops, own_as_absent: Tensor) -> float:
        """The largest share of rows that a map loses, net of those that it gains.

        The first are seen rows that are right. The second are rows whose own class is made absent and that are right.
        The third are rows whose own class is deleted, so that an absent class should be the answer, and is.
        """
        pairs = (
            (
                self.own > torch.maximum(self.others, self.absent),
                after.own > torch.maximum(after.others, after.absent),
            ),
            (self.own > self.others, own_as_absent > after.others),
            (self.absent > self.others, after.absent > after.others),
        )
        return max(int(right.sum()) - int(still.sum()) for right, still in pairs) / len(self.own)


def balanced(rows: Rows, inner: Affine, beta: float, *, one_slope: bool = False) -> Balanced:
    """As much of a map as loses at most half a per cent of the rows, or one, in each of the ways of `_Tops.lost`.

    The line of the absent logits is fitted to the largest seen logits of the rows and to the largest of the other
    classes than their own: the seen logits that a row of an absent class is up against are of that second kind.

    Args:
        inner: the map of the seen logits.
        beta: the inverse of the best temperature; scaling by it alone moves no balance.
        one_slope: whether the map scales all logits by one number, which is the line's slope too.
    """
    if bool(rows.seen.all()):
        return Balanced(inner, (beta, 0.0), 1.0)
    _, absent = group_bests(rows.logits, rows.seen)
    before = _tops(rows, None, absent.double())
    plain = torch.full_like(inner.shift, beta)
    plain = torch.diag(plain) if inner.scale.ndim == 2 else plain
    for share in _SHARES:
        part = Affine(plain + share * (inner.scale - plain), share * inner.shift)
        made = _tops(rows, part, before.absent)
        slope, shift = _line(before, made, beta, float(part.scale[0]) if one_slope else None)
        made = _Tops(made.own, made.others, slope * before.absent + shift)
        if share == 0 or before.lost(made, slope * before.own + shift) <= max(_MOST, 1.5 / len(rows)):
            break
    return Balanced(part, (slope, shift), share)


def _tops(rows: Rows, affine: Affine | None, absent: Tensor) -> _Tops:
    def numbers(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        t = z if affine is None else affine.of(z)
        return t.gather(1, y[:, None]).squeeze(1), t.scatter(1, y[:, None], -torch.inf).amax(dim=1)

    own, others = rows.per_row(2, numbers)
    return _Tops(own, others, absent)


def _line(before: _Tops, after: _Tops, beta: float, slope: float | None) -> tuple[float, float]:
    """Slope and shift by least squares; the slope is `beta` where the rows do not tell."""
    x, y = (torch.cat([torch.maximum(tops.own, tops.others), tops.others]) for tops in (before, after))
    if slope is None:
        away = x - x.mean()
        variance = float(away.square().mean())
        slope = float((away * y).mean()) / variance if variance > 1e-12 else beta
        slope = slope if slope > 0.1 * beta else beta
    return slope, float((y - slope * x).mean())
