"""Running a network: where, with what, and what it answers.

A network takes a tensor, or a mapping of tensors as keyword arguments. It answers logits [B, C], or a mapping or a
record that has them under the name `logits`, as transformers' `ModelOutput` and torchvision's `GoogLeNetOutputs` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.blame import blamed
from reclaim.core.errors import Argument, BadInput
from reclaim.data.inputs.protocol import Inputs, shapes

__all__ = ["evaluating", "logits_in", "logits_of", "run"]


def run(module: nn.Module, x: Inputs) -> Any:
    """What the network answers to inputs [B, …], or an error that shows what it was given.

    Of a network of the user's own it shows the line of the user's file too.
    """
    try:
        return module(x) if isinstance(x, Tensor) else module(**x)
    except (torch.OutOfMemoryError, BadInput):
        raise
    except Exception as error:  # whatever a network says of inputs that it was not made for
        said = blamed(error)
        if said and isinstance(error, AttributeError | NameError | KeyError | ImportError):  # of no inputs' making
            raise BadInput(f"the network fails on inputs of shape {shapes(x)}: {said}") from error
        reason = said or (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(
            f"the network cannot take inputs of shape {shapes(x)}: {reason}",
            Argument("image_size", "say how inputs are prepared"),
            Argument("mean"),
            Argument("std"),
        ) from error


def logits_in(answer: Any) -> Tensor:
    """The logits [B, C] in what a network answered.

    Raises: BadInput if there are none.
    """
    if isinstance(answer, Tensor):
        z: Any = answer
    elif isinstance(answer, Mapping):
        z = answer.get("logits", answer)
    else:
        z = getattr(answer, "logits", answer)  # a record of whatever library
    if not isinstance(z, Tensor) or z.ndim != 2:
        given = list(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise BadInput(f"a classifier answers logits [rows, classes]; this network answers {given}.")
    return z


def logits_of(module: nn.Module, x: Inputs) -> Tensor:
    """The logits [B, C] for inputs [B, …], or an error that shows what the network was given."""
    return logits_in(run(module, x))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode for a while; each part returns to the mode it was in."""
    before = [(part, part.training) for part in module.modules()]
    try:
        yield module.eval()
    finally:
        for part, was in before:
            part.training = was
