"""Make the share of rows answered with an absent class right, without labels."""

from __future__ import annotations

from typing import Literal

import torch
from scipy.optimize import bisect
from scipy.special import logit

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.core.arrays import row_blocks
from reclaim.core.numbers import InnerShare, in_range
from reclaim.snapshots.metrics.margins import group_bests
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["rate_matching"]


@in_range
def rate_matching(
    evidence: Evidence, *, rate: InnerShare | None = None, count: Literal["hard", "soft"] = "hard"
) -> Selection:
    """Answer as many target rows with an absent class as there should be.

    Args:
        rate: the share of target rows that belong to absent classes; default: the share of classes that are absent.
        count: "hard" counts answers, so γ is a quantile of the margins; "soft" sums the probabilities of absent
            classes, so γ is the root of a monotone equation.

    Needs: unlabelled.
    Source: Saerens et al., "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation
        2002, with two groups instead of classes.
    Differs: the share is given or assumed, not estimated, because the training share of absent classes is 0.
    """
    rows = evidence.need("unlabelled", by="rate-matching")
    share = int((~rows.seen).sum()) / len(rows.seen) if rate is None else rate
    offset = _hard(rows, share) if count == "hard" else _soft(rows, share)
    assumed = "the share of classes that are absent" if rate is None else "as given"
    return Selection(
        offset=offset,
        reason=f"it answers {share:.1%} of {len(rows)} unlabelled rows with an absent class ({assumed})",
        evidence={"unlabelled": len(rows)},
        details={"rate": share},
    )


def _hard(rows: Snapshot, share: float) -> float:
    best_seen, best_absent = group_bests(rows.logits, rows.seen)
    return float(_quantile((best_seen.double() - best_absent.double()).sort().values, share))


def _quantile(values: torch.Tensor, share: float) -> torch.Tensor:
    """What the lowest `share` of sorted values are below: half-way between two of them where they are a whole number.

    Elsewhere it is in proportion between two such places, so that it never jumps as the share or the values change.
    """
    values = torch.cat([values[:1] - 2, values, values[-1:] + 2])
    place = share * (len(values) - 2) + 0.5
    k = int(place)
    return torch.lerp(values[k], values[k + 1], place - k)


def _soft(rows: Snapshot, share: float) -> float:
    balance = torch.cat([_balance(rows.logits[block], rows.seen) for block in row_blocks(rows.logits)])

    def too_many(offset: float) -> float:
        return float((balance + offset).sigmoid().mean()) - share

    even = float(logit(share))  # the root for a row whose balance is 0; of all rows it lies between each row's own
    beyond = 1 + 1e-6 * float(balance.abs().max())
    ends = even - float(balance.max()) - beyond, even - float(balance.min()) + beyond
    root: float = bisect(too_many, *ends, maxiter=3000)
    return root


def _balance(logits: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """The logarithm [N] of the odds that a row of logits [N, C] is of an absent class."""
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (z[:, ~seen].logsumexp(dim=1) - z[:, seen].logsumexp(dim=1)).double()
