"""What of a network is trained, and that the rest stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Part", "found", "only_trained", "parameters_of", "put_back"]


@dataclass(frozen=True, eq=False)
class Part:
    """A parameter of which some rows are trained; the others stay, bit for bit.

    Attributes:
        parameter: [R, …].
        rows: [R] bool, True for rows that are trained.
    """

    parameter: nn.Parameter
    rows: Tensor


def parameters_of(params: Iterable[nn.Parameter | Part]) -> list[nn.Parameter]:
    """The parameters themselves."""
    return [given.parameter if isinstance(given, Part) else given for given in params]


def found(one: nn.Parameter | Part, names: Mapping[int, str], there: Mapping[str, nn.Parameter]) -> nn.Parameter | Part:
    """The parameter, or the part of it, among those there are now; one that had no name is itself.

    Args:
        names: what a parameter was called before the network was moved, by its `id`.
        there: the network's parameters now.
    """
    parameter = one.parameter if isinstance(one, Part) else one
    now = there[names[id(parameter)]] if id(parameter) in names else parameter
    return Part(now, one.rows) if isinstance(one, Part) else now


@contextmanager
def only_trained(net: nn.Module, trained: Iterable[nn.Parameter]) -> Iterator[None]:
    """Freeze every other parameter for a while. No gradient comes in or is left behind."""
    before = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    chosen = {id(parameter) for parameter in trained}
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in chosen).grad = None
    try:
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag).grad = None


def put_back(params: Iterable[nn.Parameter | Part]) -> Callable[[], None]:
    """A function that gives the rows that stay the weights they have now."""
    kept = []
    for part in params:
        if isinstance(part, Part) and not bool(part.rows.all()):
            parameter = part.parameter
            where = (~part.rows.cpu()).nonzero().squeeze(1).to(parameter.device)
            kept.append((parameter, where, parameter.detach()[where].clone()))

    @torch.no_grad()
    def put() -> None:
        for parameter, where, start in kept:
            parameter.index_copy_(0, where.to(parameter.device), start.to(parameter.device))

    return put
