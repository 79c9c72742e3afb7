"""Spend a budget of seen accuracy, certified, and no more."""

from __future__ import annotations

from math import ceil, e, isfinite, log, log1p

import torch
from scipy.stats import beta
from torch import Tensor

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.core.errors import BadInput
from reclaim.core.groups import group_weights
from reclaim.core.numbers import InnerShare, in_range
from reclaim.snapshots.metrics.margins import Margins, margins
from reclaim.snapshots.metrics.tradeoff import WINDOW

__all__ = ["retention_budget", "rows_needed"]


@in_range
def retention_budget(
    evidence: Evidence, *, budget: InnerShare = 0.05, confidence: InnerShare | None = None
) -> Selection:
    """The largest offset that costs at most `budget` of seen accuracy, certified on held-out rows.

    Raising the absent logits can only lose seen rows and only win absent ones, so the largest offset that keeps the
    promise is the best one that does. The loss of a row is 1 if the reference answers it right and the repaired model
    does not, -1 the other way round, 0 otherwise. Where rows belong together (`Snapshot.groups`), the group is what is
    drawn: its loss is the mean of its rows', each group counts once, and n is the number of groups.

    Args:
        budget: the seen accuracy that may be lost, between 0 and 1.
        confidence: without it the promise holds on average over held-out sets (conformal risk control); with it, say
            0.95, it holds for at least that share of held-out sets (learn then test).

    Needs: seen; at least 1/budget - 1 rows or groups, or log(1 - confidence)/log(1 - budget) with a confidence.
    Raises: BadInput for too few rows, saying how many are needed.
    Source: Angelopoulos et al., "Conformal Risk Control", ICLR 2024; Angelopoulos et al., "Learn then Test", 2021; of
        groups and a confidence Bentkus' inequality, as in Bates et al., "Distribution-Free, Risk-Controlling Prediction
        Sets", JACM 2021: the bound of counts, rounded against us, at a risk that is e times smaller.
    Differs: the supremum is not attained, so the middle of the last step that keeps the promise is taken, of those that
        rounding does not make; if every offset keeps it, one just beyond the largest margin. With a reference and a
        confidence, losses and gains are bounded apart (Clopper-Pearson, half of the risk each), because their
        difference is not binomial.
    """
    rows, reference = evidence.need("seen", by="retention-budget"), evidence.reference
    n, units = rows.units, "rows" if rows.groups is None else "groups of rows"
    if n < (needed := rows_needed(evidence, budget, confidence)):
        raise BadInput(
            f"{n} held-out {units} of seen classes cannot certify a budget of {budget:g}; {needed} are needed.\n"
            f"  Give more {units}, or a larger budget, or choose with own-class-left-out or gap-matching, which "
            "promise nothing."
        )
    risk = _risk(evidence, confidence)
    m = margins(rows.logits, rows.known_labels, rows.seen)
    was_right = m.right
    if reference is not None:
        was_right = margins(reference.logits, reference.known_labels, reference.seen).right
    edges, lost, gained = _steps(m, was_right, rows.groups, evidence.least)
    bound = _bound(lost, gained, n, risk)
    kept = int((bound <= budget + 1e-12).long().cumprod(dim=0).sum())  # steps until the first broken promise
    spent = {"budget": budget, "confidence": confidence}
    if kept == 0:
        without = "without an offset" if evidence.least == 0 else "with absent classes below all others"
        why = f"even {without} the {n} held-out {units} do not certify a loss of at most {budget:g}"
        return Selection(offset=float(edges[0]), reason=why, evidence={"seen": len(rows)}, details=spent)
    offset = _before(edges, kept) if kept < len(edges) else float(edges[-1]) + 1
    each = "" if rows.groups is None else " groups, each counted once"
    how = "in expectation" if confidence is None else f"with probability {confidence:g}"
    at = int(torch.searchsorted(edges, offset)) - 1
    loss = float(lost[at] - gained[at]) / n
    return Selection(
        offset=offset,
        reason=f"it is the largest offset that spends a budget of {budget:g}: {loss:.3f} of {n} held-out {units} "
        "are lost",
        evidence={"seen": len(rows)},
        guarantee=f"seen accuracy falls by at most {budget:g} {how}, n = {n}{each}",
        details={**spent, "held_out_loss": loss},
    )


def _before(edges: Tensor, broken: int) -> float:
    """The middle of the step that ends where the promise breaks; edges nearer to it than rounding are no step."""
    end = edges[broken]
    begins = edges[: int((edges < end - WINDOW * (edges[-1] - edges[0])).sum())]
    return float((begins[-1] if len(begins) else edges[0]) + end) / 2


def _bound(lost: Tensor, gained: Tensor, n: int, risk: float | None) -> Tensor:
    """What the loss is at most, [K]: in expectation, or but for that risk of each of the bounds; of n units."""
    if risk is None:
        return (lost - gained + 1).double() / (n + 1)
    most, least = lost.ceil().numpy(), gained.floor().numpy()
    most_lost = torch.from_numpy(beta.ppf(1 - risk, most + 1, n - most)).nan_to_num(1.0)
    least_gained = torch.from_numpy(beta.ppf(risk, least, n - least + 1)).nan_to_num(0.0)
    return most_lost - least_gained


def _steps(m: Margins, was_right: Tensor, groups: Tensor | None, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Edges of the steps of the loss for offsets from the least up [K], and what is lost and gained on the steps [K].

    Counted are rows; with groups, the shares of their rows.
    """
    margin = m.margin.where(m.hit, -torch.inf).cpu()  # a row is right while the offset is below this
    was_right = was_right.cpu()
    least = least if isfinite(least) else float(m.margin.min()) - 1
    edges = torch.unique(torch.cat([margin.new_tensor([least]), margin.clamp_min(least)]))
    if groups is None:
        lost = torch.searchsorted(margin[was_right].sort().values, edges, right=True)
        can_gain = margin[~was_right].sort().values
        return edges, lost, len(can_gain) - torch.searchsorted(can_gain, edges, right=True)
    weights = group_weights(groups).cpu()
    below, cannot = _weight_below(margin, weights, was_right, edges), _weight_below(margin, weights, ~was_right, edges)
    gained = weights[~was_right].sum() - cannot
    return edges, below.round(decimals=9), gained.round(decimals=9)  # a third thrice is one


def _weight_below(margin: Tensor, weights: Tensor, which: Tensor, edges: Tensor) -> Tensor:
    """The weight [K] of those rows whose margin no edge is below."""
    values, order = margin[which].sort()
    total = torch.cat([weights.new_zeros(1), weights[which][order].cumsum(0)])
    return total[torch.searchsorted(values, edges, right=True)]


@in_range
def rows_needed(evidence: Evidence, budget: InnerShare, confidence: InnerShare | None = None) -> int:
    """How many held-out rows, or groups of them, the certificate needs at least (`Snapshot.units`).

    Raises: BadNumber for a budget or a confidence outside (0, 1).
    """
    risk = _risk(evidence, confidence)
    return ceil((1 / budget - 1 if risk is None else log(risk) / log1p(-budget)) - 1e-9)


def _risk(evidence: Evidence, confidence: float | None) -> float | None:
    """The risk of each bound: two with a reference, on losses and on gains, one without; of groups e times less."""
    if confidence is None:
        return None
    grouped = evidence.need("seen", by="retention-budget").groups is not None
    return (1 - confidence) / (1 if evidence.reference is None else 2) / (e if grouped else 1)
