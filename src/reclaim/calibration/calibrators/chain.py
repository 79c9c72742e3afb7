"""First this calibrator, then that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from reclaim.calibration.protocol import Calibrator, Fitted, as_affine
from reclaim.core.affine import Affine
from reclaim.core.arrays import A
from reclaim.core.errors import BadInput, few
from reclaim.core.joining import by_name, names_for

__all__ = ["Chain"]


@dataclass(frozen=True)
class Chain:
    """Several calibrators, one after the other; itself a calibrator.

    Attributes:
        steps: the calibrators, the first one first; at least one.

    Source: Reclaim.
    """

    steps: tuple[Calibrator, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise BadInput("a chain needs at least one calibrator.")
        if len(sizes := {len(step.fitted.seen) for step in self.steps}) > 1:
            raise BadInput(f"the calibrators of a chain are for other numbers of classes: {few(sorted(sizes))}.")

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C], in the order of the first step's classes; the others find theirs among them by name."""
        own, z = self.steps[0].fitted.classes, logits
        for step in self.steps:
            change: Callable[[A], A] = by_name(step, own)
            z = change(z)
        return z

    @property
    def fitted(self) -> Fitted:
        """The classes of the first step, which gets the logits, and the origin of the rows that fitted the last."""
        first, last = self.steps[0].fitted, self.steps[-1].fitted
        return Fitted(
            first.seen,
            first.classes,
            last.origin,
            model_identity=last.model_identity,
            row_identities=last.row_identities,
        )

    @property
    def keeps_order(self) -> bool:
        """Whether every step does."""
        return all(step.keeps_order for step in self.steps)

    def affine(self, classes: Sequence[str] = ()) -> Affine | None:
        """The composed map over `classes`; None if a step is not affine."""
        first, maps = self.steps[0].fitted, []
        columns = names_for(first, classes) or first.classes
        for step in self.steps:
            if (made := as_affine(step, columns)) is None:
                return None
            maps.append(made)
        return reduce(Affine.then, maps)
