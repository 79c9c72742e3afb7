"""Arrays in, same kind out: NumPy arrays and tensors are torch tensors inside, and leave as they came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from reclaim.errors import BadKind

__all__ = ["A", "Array", "as_kind", "as_tensor", "row_blocks"]

Array: TypeAlias = np.ndarray[Any, Any] | Tensor
A = TypeVar("A", np.ndarray[Any, Any], Tensor)  # an array that leaves as it came


def as_tensor(array: object) -> Tensor:
    """The tensor that shares `array`'s memory where it can."""
    if isinstance(array, Tensor):
        return array.detach()
    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
    if isinstance(array, list | tuple):
        return as_tensor(np.asarray(array))
    raise BadKind(f"expected a NumPy array or a torch tensor of numbers, got {type(array).__name__}: {array!r:.80}")


def as_kind(result: Tensor, given: A) -> A:
    """`result` as the kind of array that was given."""
    return result if isinstance(given, Tensor) else result.numpy()


def row_blocks(array: Tensor) -> Iterable[slice]:
    """Slices of rows small enough that work on one block stays in the processor's cache, whatever N is."""
    budget = 1 << (21 if array.device.type == "cpu" else 28)
    rows = max(1, budget // max(1, array[:1].nelement() * array.element_size()))
    return (slice(start, start + rows) for start in range(0, len(array), rows))
