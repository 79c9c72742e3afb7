"""What the numbers of a calibrator must be, checked where one is made: by a fit, from a file, or by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from torch import Tensor

from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput, BadKind

__all__ = ["check_functions", "check_net", "check_number", "check_numbers", "check_per_class", "check_tensor"]

_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).tiny)


def check_number(name: str, value: object, *, above: float = -math.inf, least: float = -math.inf) -> None:
    """Raise unless a value is a finite number in single precision, above `above` and no less than `least`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise BadKind(f"{name} must be a number; given: {value!r} ({type(value).__name__}).")
    number = math.nan
    with suppress(OverflowError):
        number = float(value)
    if not (abs(number) <= _LARGEST and number > above and number >= least and (above != 0 or number >= _SMALLEST)):
        bound = f" above {above:g}" if above > -math.inf else f" of at least {least:g}" if least > -math.inf else ""
        raise BadInput(f"{name} must be a finite number{bound}; given: {value!r}.")


def check_numbers(name: str, values: Sequence[float], count: int, of: str = "", *, least: float = -math.inf) -> None:
    """Raise unless there are `count` finite numbers, none less than `least`.

    Args:
        of: what there is one for.
    """
    if not isinstance(values, tuple | list):
        raise BadKind(f"{name} must be a tuple of numbers; given: {type(values).__name__}.")
    if len(values) != count:
        raise BadInput(f"{name} must be {count} numbers{of}; given: {len(values)}.")
    for index, value in enumerate(values):
        check_number(f"{name}[{index}]", value, least=least)


def check_per_class(fitted: Fitted, *, least: float = -math.inf, **values: Sequence[float]) -> None:
    """Raise unless each of the sequences has one finite number per seen class, none less than `least`."""
    for name, numbers in values.items():
        check_numbers(name, numbers, sum(fitted.seen), ", one for each seen class", least=least)


def check_tensor(name: str, tensor: Tensor, *shape: int, finite: bool = True) -> None:
    """Raise unless a tensor is of floating-point numbers and of that shape, in which -1 stands for any size above 0.

    Args:
        finite: whether all of them must be.
    """
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        given = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise BadKind(f"{name} must be a tensor of floating-point numbers; given: {given}.")
    fits = len(shape) == tensor.ndim and all(
        own == size or (size == -1 and own > 0) for own, size in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise BadInput(f"{name} must have the shape {list(shape)}; given: {list(tensor.shape)}.".replace("-1", "any"))
    if finite and not bool(tensor.isfinite().all()):
        raise BadInput(f"{name} must hold finite numbers only.")


def check_net(inputs: Tensor, first: Tensor, second: Tensor, outputs: int) -> None:
    """Raise unless three tensors make a net of one hidden layer (`reclaim.calibration.fitting.nets`)."""
    check_tensor("inputs", inputs, 2, -1)
    check_tensor("first", first, -1, inputs.shape[1] + 1)
    check_tensor("second", second, outputs, len(first) + 1)
    if not bool((inputs[1] > 0).all()):
        raise BadInput("inputs must have a spread above 0 in their second row.")


def check_functions(x: Tensor, y: Tensor, sizes: Sequence[int], *, steps: bool = False, missing: bool = False) -> None:
    """Raise unless two tensors hold the points of functions of a probability (`reclaim.calibration.fitting.knots`).

    Args:
        steps: they are bins, and the last of the edges `x` is infinite.
        missing: values `y` may be missing (nan).
    """
    if not isinstance(sizes, tuple | list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in sizes):
        raise BadKind("sizes must be a tuple of whole numbers, the points of each function.")
    if not sizes or min(sizes) < 1:
        raise BadInput(f"every function must have at least one point; given: {list(sizes)}.")
    check_tensor("the points' x", x, sum(sizes), finite=not steps)
    check_tensor("the points' y", y, sum(sizes), finite=not missing)
    if not bool((((y >= 0) & (y <= 1 + 1e-6)) | y.isnan()).all()):
        raise BadInput("the points' y must be probabilities, from 0 to 1.")
    for part in x.split(list(sizes)):
        if bool(part.isnan().any()) or not bool((part.diff() > 0).all()) or (steps and part[-1] != math.inf):
            raise BadInput("the points' x must ascend within each function" + (", to infinity." if steps else "."))
