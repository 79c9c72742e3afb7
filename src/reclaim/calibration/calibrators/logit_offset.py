"""One constant for absent classes, and, where a repair asks for them, smaller ones for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from reclaim.calibration.evidence import Evidence
from reclaim.core.affine import Affine
from reclaim.core.arrays import A, Array, as_kind, as_tensor
from reclaim.core.errors import BadInput, few
from reclaim.core.registry import find
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["LogitOffset"]


@dataclass(frozen=True)
class LogitOffset:
    """Lift the logits of absent classes by one constant.

    Attributes:
        offset: the constant γ, in logit units.
        seen: one bool per class.
        classes: their names, so that a model with its classes in another order, or with more, can take the offset.
        shifts: what is added to each class besides, of mean zero in either group (`class_balance`); empty for nothing.
        selector, reason, evidence, guarantee, details: how the constant was chosen.
        fitted_on: data and split of the rows that chose it; empty if unknown.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024; Chao et al., "An Empirical Study and
        Analysis of Generalized Zero-Shot Learning", ECCV 2016 (calibrated stacking).
    """

    offset: float
    seen: tuple[bool, ...]
    classes: tuple[str, ...] = ()
    shifts: tuple[float, ...] = ()
    selector: str = ""
    reason: str = ""
    evidence: dict[str, int] = field(default_factory=dict)
    guarantee: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    fitted_on: str = ""

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C], the absent columns raised by the offset, and each by its shift."""
        z = as_tensor(logits)
        if z.shape[-1] != len(self.seen):
            raise BadInput(f"this offset is for {len(self.seen)} classes; the logits have {z.shape[-1]} columns.")
        return as_kind(z + self.affine().shift.to(z), logits)

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The same as an affine map, over `classes` in their order; by default over its own.

        Classes it does not know are absent ones: the fine-tuning had only those it knows as seen.
        """
        shifts = torch.tensor(self.shifts or [0.0] * len(self.seen))
        if not classes or tuple(classes) == self.classes:
            absent = ~torch.tensor(self.seen, dtype=torch.bool)
        else:
            seen = {name for name, is_seen in zip(self.classes, self.seen, strict=True) if is_seen}
            if not seen <= set(classes):
                raise BadInput(
                    f"this offset's seen classes are not all among the model's: {few(sorted(seen - set(classes)))}."
                )
            absent = torch.tensor([name not in seen for name in classes])
            of_class = dict(zip(self.classes, shifts.tolist(), strict=True))
            shifts = torch.tensor([of_class.get(name, 0.0) for name in classes])
        return Affine(torch.ones(len(absent)), shifts + absent * torch.tensor(self.offset, dtype=torch.float32))

    @classmethod
    def fit(cls, logits: Array, labels: Array, seen: Array) -> LogitOffset:
        """The average logit gap of [N, C] logits and [N] labels; rows of absent classes are not read.

        Raises: BadInput if no class is absent, or only one is seen.
        """
        return cls.select(Evidence(seen=Snapshot(as_tensor(logits), as_tensor(labels), as_tensor(seen))),
                          "average-logit-gap")  # fmt: skip

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
        chosen = find("selectors", selector)(evidence, **(numbers or {}))
        rows = next(given for name in chosen.evidence if (given := getattr(evidence, name)) is not None)
        return cls(
            offset=chosen.offset,
            seen=tuple(rows.seen.tolist()),
            classes=rows.classes,
            shifts=() if shifts is None else tuple(shifts.tolist()),
            selector=selector,
            reason=chosen.reason,
            evidence=chosen.evidence,
            guarantee=chosen.guarantee,
            details=chosen.details,
            fitted_on=rows.origin,
        )
