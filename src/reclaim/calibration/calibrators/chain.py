"""First this calibrator, then that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from reclaim.calibration.protocol import Calibrator
from reclaim.core.affine import Affine
from reclaim.core.arrays import A
from reclaim.core.errors import BadInput

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

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        return reduce(lambda z, step: step(z), self.steps, logits)

    @property
    def fitted_on(self) -> str:
        """Data and split of the rows that fitted the last step."""
        return str(getattr(self.steps[-1], "fitted_on", ""))

    def affine(self, classes: Sequence[str] = ()) -> Affine:
        """The composed map over `classes`; BadInput if a step is not affine."""
        maps = []
        for step in self.steps:
            if not hasattr(step, "affine"):
                raise BadInput(f"{type(step).__name__} is not affine, so this chain cannot be folded into a layer.")
            maps.append(step.affine(classes))
        return reduce(Affine.then, maps)
