"""What of the caller's is changed while a network trains, and given back however that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["channels_last", "forked_random", "in_mode", "seeding"]


@contextmanager
def in_mode(net: nn.Module, train: bool) -> Iterator[None]:
    """The network in training or evaluation mode for a while; each part returns to the mode it was in."""
    before = [(part, part.training) for part in net.modules()]
    try:
        net.train(train)
        yield
    finally:
        for part, was in before:
            part.training = was


@contextmanager
def channels_last(net: nn.Module) -> Iterator[None]:
    """Parameters of four dimensions laid out as images are, with their channels last, for a while.

    Convolutions would lay them out anew in every step. Afterwards their values are in the memory that they had.
    """
    held = [
        (parameter, parameter.data)
        for parameter in net.parameters()
        if parameter.ndim == 4 and not parameter.is_contiguous(memory_format=torch.channels_last)
    ]
    for parameter, data in held:
        parameter.data = data.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for parameter, data in held:
            parameter.data = data.copy_(parameter.data)


@contextmanager
def forked_random(device: torch.device) -> Iterator[None]:
    """However many random numbers are drawn within it on the CPU and on the device, those after it are the same."""
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        state = torch.mps.get_rng_state() if device.type == "mps" else None
        try:
            yield
        finally:
            if state is not None:
                torch.mps.set_rng_state(state)


def seeding(device: torch.device) -> Callable[[int], object]:
    """Sets the seed of the generators that a network on the device draws from, and of no other.

    `torch.manual_seed` also notes it, with a trace of the calls, for a GPU that may come later: a third of a small
    step.
    """
    here = torch.default_generator.manual_seed
    if device.type == "cpu":
        return here
    there = torch.cuda.default_generators[device.index].manual_seed if device.type == "cuda" else torch.mps.manual_seed

    def both(seed: int) -> None:
        here(seed)
        there(seed)

    return both
