"""A network on another device for a while. However that ends, it lies where it lay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reclaim.core.devices import find_device
from reclaim.core.errors import Argument, BadInput

__all__ = ["device_of", "enough_memory", "placed_on", "where_to_run"]


@contextmanager
def placed_on(module: nn.Module, where: torch.device, *, returns: bool = False) -> Iterator[nn.Module]:
    """The network on the device for a while; on a GPU with weights of four dimensions laid out with channels last.

    Afterwards its parameters and buffers are the objects that they were, in the memory that they had, with the
    gradients that they had. On a device of a kind that no parameter can change to, they are others meanwhile.

    Args:
        returns: what became of their values there is copied back. Otherwise it is forgotten, as after an evaluation.

    Raises: BadInput if the network lies on several devices, or on none.
    """
    home = device_of(module)
    if home == where:
        yield module
        return
    with torch.inference_mode(False):  # what is moved within it could not be trained afterwards
        held = [(*one, one[2].data, one[2].grad) for one in _tensors(module)]
        try:
            for _, _, tensor, _, _ in held:
                tensor.grad = None
            with _not_swapped():
                module.to(where)
            for _, _, tensor in _tensors(module):
                if where.type == "cuda" and tensor.ndim == 4:
                    tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
        except BaseException:
            _put_back(module, home, held, returns=False)
            raise
    try:
        yield module
    finally:
        with torch.inference_mode(False):
            _put_back(module, home, held, returns)


def device_of(module: nn.Module) -> torch.device:
    """Where the network lies; the CPU for a network without parameters and buffers.

    Raises: BadInput if it lies on several devices, or on none.
    """
    first: dict[torch.device, str] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        first.setdefault(tensor.device, name)
    if len(first) > 1:
        places = ", ".join(f"{name!r} on {device}" for device, name in first.items())
        raise BadInput(f"the network lies on several devices: {places}. Move it to one of them.")
    home, name = next(iter(first.items()), (torch.device("cpu"), ""))
    if home.type == "meta":
        raise BadInput(f"the network has no weights yet: {name!r} lies on the device meta. Load them first.")
    return home


@contextmanager
def _not_swapped() -> Iterator[None]:
    """Within it no moved parameter takes the place of the one that was given, which a live graph would forbid later."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(False)
    try:
        yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def where_to_run(device: str, module: nn.Module) -> torch.device:
    """The device of that name; "auto" is where the network lies if that is a GPU, else a GPU if there is one.

    Raises: BadInput if there is no such device, or the network lies on several, or on none.
    """
    return find_device(device, device_of(module))


@contextmanager
def enough_memory(where: torch.device) -> Iterator[None]:
    """What does not fit on the device within it is said.

    Raises: BadInput if its memory does not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BadInput(
            f"the memory of {where} does not suffice: {str(error).splitlines()[0]:.200}",
            Argument("device", "run on the CPU, or on another device", "cpu"),
        ) from error


_Held = tuple[nn.Module, str, Tensor, Tensor, Tensor | None]


def _tensors(module: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """Every parameter and buffer, with its owner and its name there."""
    return [
        (owner, name, tensor)
        for owner in module.modules()
        for named in (owner.named_parameters, owner.named_buffers)
        for name, tensor in named(recurse=False, remove_duplicate=False)
    ]


@torch.no_grad()
def _put_back(module: nn.Module, home: torch.device, held: list[_Held], returns: bool) -> None:
    for owner, name, tensor, data, grad in held:
        now = getattr(owner, name)
        if returns:
            data.copy_(now.data)
        if now is not tensor:
            setattr(owner, name, tensor)
        tensor.data = data
        tensor.grad = grad
    for owner, name, tensor in _tensors(module):
        if tensor.device != home:  # it was made meanwhile
            setattr(owner, name, tensor.to(home))
