"""Calibrators as modules, which torch.export can trace and a server can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.protocol import Calibrator, as_affine
from reclaim.core.affine import Affine
from reclaim.core.compat import is_traced, leaves, outside_tracing
from reclaim.core.joining import by_name, names_for

__all__ = ["Served", "as_module"]


def as_module(calibrator: Calibrator, classes: Sequence[str] = ()) -> nn.Module:
    """A calibrator as a module, logits [N, C] -> logits [N, C].

    Args:
        classes: of the model that makes the logits. The calibrator finds its own among them by name; one that is not
            affine must be for the same ones, in any order.

    Raises: BadInput if the classes do not fit.
    """
    if isinstance(calibrator, Chain):
        columns = names_for(calibrator.fitted, classes) or calibrator.fitted.classes
        return nn.Sequential(*(as_module(step, columns) for step in calibrator.steps))
    if (affine := as_affine(calibrator, classes)) is not None:
        return _Affine(affine)
    return _Called(by_name(calibrator, classes))


class Served(nn.Module):
    """A network and its calibrator: inputs [N, …] -> logits [N, C] and probabilities [N, C]."""

    def __init__(self, network: nn.Module, calibrator: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.calibrator = network, calibrator or nn.Identity()

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.calibrator(self.network(inputs))
        return logits, logits.softmax(dim=1)


class _Affine(nn.Module):
    """z -> scale z + shift."""

    scale: Tensor
    shift: Tensor

    def __init__(self, affine: Affine) -> None:
        super().__init__()
        self.register_buffer("scale", affine.scale)
        self.register_buffer("shift", affine.shift)

    def forward(self, logits: Tensor) -> Tensor:
        return Affine(self.scale, self.shift).of(logits)


class _Called(nn.Module):
    """The calibrator's own code. It holds no parameters; the graph traced from it does, as constants."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, logits: Tensor) -> Tensor:
        with _Constants() if is_traced(logits) else nullcontext():
            return self.change(logits)


class _Constants(TorchFunctionMode):
    """While a graph is traced: what does not depend on its inputs is computed at once and becomes a constant.

    So a calibrator may ask whether all classes are seen, and pick columns by a mask, as in any other code.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not any(map(is_traced, leaves((args, kwargs)))):
            with outside_tracing():
                return func(*args, **kwargs)
        if func is Tensor.__getitem__ and isinstance(args[1], tuple):
            args = args[0], tuple(_indices(part) for part in args[1])
        return func(*args, **kwargs)


def _indices(part: Any) -> Any:
    """A mask that is a constant as the indices it stands for."""
    if isinstance(part, Tensor) and part.dtype == torch.bool and not is_traced(part):
        with outside_tracing():
            return part.nonzero().squeeze(1)
    return part
