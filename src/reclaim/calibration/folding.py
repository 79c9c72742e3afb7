"""Calibrators for the last layer of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.protocol import Calibrator, as_affine
from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput

__all__ = ["affine_to_fold"]


def affine_to_fold(calibrator: Calibrator, classes: Sequence[str] = ()) -> Affine:
    """The calibrator as an affine map over `classes`, which `reclaim.models.head.fold` takes.

    Raises: BadInput if it is not affine, or a seen class of it is not among `classes`.
    """
    affine = as_affine(calibrator, classes)
    if affine is None:
        what = "this chain" if isinstance(calibrator, Chain) else "it"
        bent = next(step for step in _steps(calibrator) if as_affine(step) is None)
        raise BadInput(f"{type(bent).__name__} is not affine, so {what} cannot be folded into a layer.")
    return affine


def _steps(calibrator: Calibrator) -> Iterator[Calibrator]:
    """The calibrator, or those that a chain is made of, chains inside it included."""
    if not isinstance(calibrator, Chain):
        yield calibrator
        return
    for step in calibrator.steps:
        yield from _steps(step)
