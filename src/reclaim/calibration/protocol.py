"""Maps from logits to logits. A calibrator is a frozen record that exists only once it is fitted.

The protocol: a dataclass whose fields are plain numbers, strings and tuples; ``__call__(logits [N, C]) -> [N, C]`` that
keeps shape and kind and treats rows independently; a class method ``fit`` that makes one from data; and, if it is
affine, ``affine(classes) -> Affine`` so that it can be folded into the last layer of a model with these classes.
"""

from __future__ import annotations

from typing import Protocol

from reclaim.core.arrays import A

__all__ = ["Calibrator"]


class Calibrator(Protocol):
    """What every calibrator can do."""

    def __call__(self, logits: A) -> A: ...
