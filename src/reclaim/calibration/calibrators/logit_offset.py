"""One constant for absent classes, and, where a repair asks for them, smaller ones for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from reclaim.calibration.checks import check_number, check_numbers
from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, given_snapshot
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_kind, as_tensor
from reclaim.core.checks import check_kind
from reclaim.core.errors import BadInput, few, meant
from reclaim.core.joining import names_for
from reclaim.core.registry import describe, find

__all__ = ["LogitOffset"]


@dataclass(frozen=True)
class LogitOffset:
    """Lift the logits of absent classes by one constant.

    Attributes:
        offset: the constant γ, in logit units.
        fitted: what the fit left behind; with the names of the classes, a model that has them in another order, or
            more, can take the offset. Its details are the selector's.
        shifts: what is added to each class besides, of mean zero in either group (`class_shifts`); empty for nothing.
        selector, reason, evidence, guarantee: how the constant was chosen.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; Chao et al., "An Empirical Study and
        Analysis of Generalized Zero-Shot Learning", ECCV 2016 (calibrated stacking).
    """

    offset: float
    fitted: Fitted
    shifts: tuple[float, ...] = ()
    selector: str = ""
    reason: str = ""
    evidence: dict[str, int] = field(default_factory=dict)
    guarantee: str | None = None
    keeps_order: ClassVar[bool] = True  # but for the shifts of single classes

    def __post_init__(self) -> None:
        check_number("offset", self.offset)
        check_numbers("shifts", self.shifts, len(self.fitted.seen) if self.shifts else 0, ", one for each class")

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C], the absent columns raised by the offset, and each by its shift."""
        z = as_tensor(logits)
        if z.shape[-1] != len(self.fitted.seen):
            raise BadInput(
                f"this offset is for {len(self.fitted.seen)} classes; the logits have {z.shape[-1]} columns."
            )
        check_kind(z)
        shift = self.affine().shift.to(z.device, torch.promote_types(z.dtype, torch.float32))
        return as_kind((z + shift).to(z.dtype), logits)

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The same as an affine map, over `classes` in their order; by default over its own.

        Classes it does not know are absent ones: the fine-tuning had only those it knows as seen.
        """
        own, is_seen, classes = self.fitted.classes, self.fitted.seen, names_for(self.fitted, classes)
        shifts = torch.tensor(self.shifts or [0.0] * len(is_seen))
        if not classes or classes == own:
            absent = ~torch.tensor(is_seen)
        else:
            seen = {name for name, known in zip(own, is_seen, strict=True) if known}
            if missing := sorted(seen - set(classes)):
                raise BadInput(
                    f"this offset's seen classes are not all among the model's: {few(missing)}."
                    f"{meant(missing, classes)}"
                )
            absent = torch.tensor([name not in seen for name in classes])
            of_class = dict(zip(own, shifts.tolist(), strict=True))
            shifts = torch.tensor([of_class.get(name, 0.0) for name in classes])
        return Affine(torch.ones(len(absent)), shifts + absent * self.offset)

    @classmethod
    def fit(cls, logits: Given, labels: Also = None, seen: Also = None) -> LogitOffset:
        """The average logit gap of [N, C] logits and [N] labels; rows of absent classes are not read.

        Raises: BadInput if no class is absent, or only one is seen.
        """
        return cls.select(Evidence(seen=given_snapshot(logits, labels, seen)), "average-logit-gap")

    @classmethod
    def select(
        cls,
        evidence: Evidence,
        selector: str = "auto",
        numbers: Mapping[str, Any] | None = None,
        shifts: Tensor | None = None,
    ) -> LogitOffset:
        """The offset that a selector chooses from the evidence.

        Args:
            selector: a name from ``reclaim list selectors``.
            numbers: the selector's own keyword arguments.
            shifts: [C], to keep beside the offset; the evidence's answers have them already.
        """
        chosen: Selection = find("selectors", selector)(evidence, **(numbers or {}))
        given = evidence.given()
        rows = next(given[name] for name in chosen.evidence if name in given)
        return cls(
            offset=chosen.offset,
            fitted=Fitted(
                tuple(rows.seen.tolist()),
                rows.classes,
                rows.origin,
                chosen.details,
                model_identity=rows.model_identity,
                row_identities=rows.identities(),
            ),
            shifts=() if shifts is None else tuple(shifts.tolist()),
            selector=describe("selectors", selector).name,
            reason=chosen.reason,
            evidence=chosen.evidence,
            guarantee=chosen.guarantee,
        )
