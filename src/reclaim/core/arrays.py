"""Arrays in, same kind out: NumPy arrays and tensors are torch tensors inside, and leave as they came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from reclaim.core.errors import BadInput, BadKind

__all__ = [
    "A",
    "Array",
    "as_kind",
    "as_numpy",
    "as_tensor",
    "beside",
    "by_numpy",
    "check_one_place",
    "merged",
    "rank",
    "row_blocks",
    "sorted_values",
]

Array: TypeAlias = np.ndarray[Any, Any] | Tensor
A = TypeVar("A", np.ndarray[Any, Any], Tensor)  # an array that leaves as it came


def as_tensor(array: object) -> Tensor:
    """The tensor that shares `array`'s memory where it can.

    Types that torch has by name only are widened without loss: whole numbers without a sign to int64, floating-point
    numbers of 8 bits to float32. Those of more than 64 bits are rounded to float64.

    Raises: BadKind for what is no array of numbers, or one without values in memory (sparse, quantised, meta);
        BadInput for whole numbers from 2^63 on.
    """
    if isinstance(array, Tensor):
        return _usable(array.detach())
    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf":
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:
            return torch.from_numpy(_signed(array))
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            return torch.from_numpy(array.astype(np.float64))
        return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
    if isinstance(array, list | tuple):
        return as_tensor(_gathered(array))
    if isinstance(array, np.ndarray):
        raise BadKind(f"expected an array of numbers; its type is {array.dtype}: {array!r:.80}")
    raise BadKind(f"expected a NumPy array or a torch tensor of numbers, got {type(array).__name__}: {array!r:.80}")


_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


def _usable(tensor: Tensor) -> Tensor:
    """The tensor in a type and layout that torch can work with."""
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        what = "has no values" if tensor.is_meta else "is quantised" if tensor.is_quantized else "is sparse"
        raise BadKind(f"expected a tensor of numbers that lie in memory; this one {what} ({tensor.dtype}).")
    if tensor.dtype in _UNSIGNED:
        return torch.from_numpy(_signed(tensor.cpu().numpy())).to(tensor.device)
    return tensor.float() if tensor.is_floating_point() and tensor.dtype.itemsize == 1 else tensor


def _signed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whole numbers as int64."""
    if array.size and int(array.max()) >= 1 << 63:
        raise BadInput(f"whole numbers must be below 2^63; given: {int(array.max())}.")
    return array.astype(np.int64)


def _gathered(given: list[Any] | tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """A list as an array."""
    try:
        return np.asarray(given)
    except ValueError as error:
        raise BadInput(f"a list must hold numbers, or lists of one length: {error}.") from error


def as_kind(result: Tensor, given: A) -> A:
    """`result` as the kind of array that was given."""
    return result if isinstance(given, Tensor) else result.numpy()


def beside(array: Tensor, logits: Tensor, name: str) -> Tensor:
    """`array`, called `name`, on the device of the logits: it may come from the CPU, or go there.

    Raises: BadInput if the two lie on different cards.
    """
    if "cpu" not in (array.device.type, logits.device.type):
        check_one_place({"the logits": logits, f"`{name}`": array})
    return array.to(logits.device)


def check_one_place(arrays: Mapping[str, Tensor]) -> None:
    """Raises: BadInput with the devices, if tensors, by what they are called, lie on more than one."""
    if len({array.device for array in arrays.values()}) > 1:
        raise BadInput(
            f"answers lie on different devices: {', '.join(f'{name} on {a.device}' for name, a in arrays.items())}.\n"
            "  Bring them to one: tensor.to(device)."
        )


def as_numpy(array: Tensor) -> np.ndarray[Any, Any]:
    """The values of a tensor, whatever its device, for what only NumPy or SciPy can do."""
    return array.cpu().numpy()


def by_numpy(work: Callable[..., np.ndarray[Any, Any]], *arrays: Tensor) -> Tensor:
    """What a function of NumPy arrays makes of tensors, on the device of the first."""
    return torch.from_numpy(work(*map(as_numpy, arrays))).to(arrays[0].device)


def sorted_values(values: Tensor) -> Tensor:
    """The values [N] in ascending order; on a CPU by NumPy, which is several times as fast."""
    return torch.from_numpy(np.sort(values.numpy())) if values.device.type == "cpu" else values.sort().values


def merged(a: Tensor, b: Tensor) -> Tensor:
    """The values of two tensors in ascending order, each of them in ascending order already."""
    both = torch.cat([a, b])  # a stable sort only has to merge the two runs
    return torch.from_numpy(np.sort(both.numpy(), kind="stable")) if both.device.type == "cpu" else both.sort().values


def rank(ordered: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    """How many of `ordered` [N], in ascending order, are smaller than each of `values`; with `right`, or equal."""
    if values.device.type != "cpu":
        return torch.searchsorted(ordered, values, right=right)
    return torch.from_numpy(np.searchsorted(ordered.numpy(), values.numpy(), side="right" if right else "left"))


def row_blocks(array: Tensor, size: int = 3 << 20) -> Iterable[slice]:
    """Slices of rows small enough that work on one block stays in the processor's cache, whatever N is.

    `size` is in bytes; a GPU gets 128 times as much. In a graph that is being traced, all rows are one block.
    """
    if torch.compiler.is_compiling():
        return [slice(None)]
    budget = size << (0 if array.device.type == "cpu" else 7)
    rows = max(1, budget // max(1, array[:1].nelement() * array.element_size()))
    return (slice(start, start + rows) for start in range(0, len(array), rows))
