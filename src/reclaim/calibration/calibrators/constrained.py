"""One temperature, one offset and a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from reclaim.calibration.checks import check_number
from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns, spread
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_tensor
from reclaim.core.numbers import InnerShare, Positive, Share, in_range
from reclaim.core.registry import find
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Constrained"]


@dataclass(frozen=True)
class Constrained:
    """Scale both groups and lift the absent one, under a certified limit on the seen accuracy that may be lost.

    Seen logits become ``z / T``, absent ones ``(ratio z + offset) / T``. The temperature comes from the softmax over
    seen classes, which the rows' lack of absent ones does not bias; the offset from a selector, cut down to the
    largest that the budget certifies. The order inside each group stays.

    Attributes:
        temperature: T.
        offset: in units of the logits before scaling.
        ratio: of the absent logits' scale to the seen ones'.
        fitted: its details are `nll`, `gradient`, `passes`, `note` of the temperature; `chosen` and `certified`, the
            selector's offset and the largest certified one.
        selector, reason, guarantee: how the offset was chosen and what it promises.

    Source: Reclaim.
    """

    temperature: float
    offset: float
    ratio: float
    fitted: Fitted
    selector: str = ""
    reason: str = ""
    guarantee: str | None = None
    keeps_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_number("offset", self.offset)
        check_number("ratio", self.ratio, above=0)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        check_columns(as_tensor(logits), self.fitted.seen, "constrained map")
        return self.affine()(logits)

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The same as an affine map, over `classes`."""
        k, beta = sum(self.fitted.seen), 1 / self.temperature
        rest = (beta * self.ratio, beta * self.offset)
        return spread(Affine(torch.full((k,), beta), torch.zeros(k)), rest, self.fitted, classes)

    @classmethod
    @in_range
    def fit(
        cls,
        logits: Given,
        labels: Also = None,
        seen: Also = None,
        *,
        select: str = "auto",
        budget: Share = 0.05,
        confidence: InnerShare | None = None,
        ratio: Positive = 1.0,
    ) -> Constrained:
        """The temperature and the offset for [N, C] logits and [N] labels of seen classes.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen, and there is no offset.
            select: the selector of the offset, one that needs held-out seen rows only; or "none", for an offset of 0.
            budget: the seen accuracy that may be lost, between 0 and 1; 1 promises nothing.
            confidence: without it the budget is kept on average, with it for this share of held-out sets.
            ratio: the scale of absent logits against the seen ones'; above 0, or their order would turn round.

        Raises: BadInput if the rows cannot be used, or are too few to certify the budget.
        """
        rows = calibration_rows(logits, labels, seen)
        found = best_beta(rows)
        details = found.details()
        chosen = Selection(0.0, "no offset was asked for", {})
        if select != "none" and not bool(rows.seen.all()):
            evidence = _evidence(rows.snapshot(), ratio)
            chosen = _offset(evidence, select, budget, confidence)
            details |= chosen.details
        return cls(
            temperature=1 / found.beta,
            offset=chosen.offset,
            ratio=ratio,
            fitted=rows.fitted(details),
            selector=select,
            reason=chosen.reason,
            guarantee=chosen.guarantee,
        )


def _offset(evidence: Evidence, select: str, budget: float, confidence: float | None) -> Selection:
    """The selector's offset, cut down to the largest that the budget certifies. A budget of 1 allows everything."""
    if budget == 1:
        everything: Selection = find("selectors", select)(evidence)
        return everything
    limit: Selection = find("selectors", "retention-budget")(evidence, budget=budget, confidence=confidence)
    chosen: Selection = limit if select in ("auto", "retention-budget") else find("selectors", select)(evidence)
    details = {"chosen": chosen.offset, "certified": limit.offset}
    reason = chosen.reason if chosen.offset <= limit.offset else f"{chosen.reason}; cut down to what the budget allows"
    return Selection(min(chosen.offset, limit.offset), reason, chosen.evidence, limit.guarantee, details)


def _evidence(given: Snapshot, ratio: float) -> Evidence:
    """The rows with absent logits scaled; what they answer right unscaled is what the budget protects."""
    if ratio == 1:
        return Evidence(seen=given)
    scale = torch.where(given.seen, 1.0, ratio).to(given.logits.dtype)
    return Evidence(seen=given.with_logits(given.logits * scale), reference=given)
