"""Maps from logits to logits. A calibrator is a frozen record that exists only once it is fitted.

A calibrator is a dataclass whose fields are plain numbers, strings, tuples and tensors, and one `Fitted`. The class
method ``fit`` makes one, of ``(logits, labels, seen)`` or of a snapshot alone, which has the names of the classes and
the origin of the rows too. One that is affine has ``affine(classes)`` besides (`as_affine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reclaim.core.affine import Affine
from reclaim.core.arrays import A
from reclaim.core.checks import check_classes
from reclaim.core.errors import BadKind, few
from reclaim.core.frozen import store
from reclaim.core.joining import HasAffine

__all__ = ["Calibrator", "Fitted", "as_affine"]


@dataclass(frozen=True)
class Fitted:
    """What every fit leaves behind.

    Attributes:
        seen: one bool per class, True where the fine-tuning data had it.
        classes: one name per class; empty if unknown.
        origin: data and split of the rows that were fitted to; empty if unknown.
        details: how the fit went, in the types of JSON.
        model_identity: that of the model whose answers were fitted to; empty if unknown.
        row_identities: fingerprints of some of the rows; empty if unknown.
    """

    seen: tuple[bool, ...]
    classes: tuple[str, ...] = ()
    origin: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    model_identity: str = ""
    row_identities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(isinstance(one, bool) for one in self.seen):
            raise BadKind(f"`seen` must be one bool per class; given: {few(self.seen)}.")
        if self.classes:
            store(self, classes=check_classes(self.classes, len(self.seen)))


class Calibrator(Protocol):
    """What every calibrator has."""

    @property
    def fitted(self) -> Fitted:
        """What the fit left behind."""

    @property
    def keeps_order(self) -> bool:
        """Whether the order of the logits inside each group, seen and absent, is promised to stay."""

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]: rows independently, in the kind of array and the type that came in."""


def as_affine(calibrator: Calibrator, classes: Sequence[str] = ()) -> Affine | None:
    """The calibrator as scale and shift; None if it is not affine.

    Args:
        classes: of the model whose logits are mapped, in their order; those that the calibrator does not know are
            absent ones. Empty: the calibrator's own.

    Raises: BadInput if a seen class of the calibrator is not among them.
    """
    return calibrator.affine(classes) if isinstance(calibrator, HasAffine) else None
