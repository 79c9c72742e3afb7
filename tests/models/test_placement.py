"""A network on a card for a while comes back as it was."""

from typing import Any

import pytest
import torch
from torch import nn

from reclaim.core.errors import BadInput
from reclaim.models.placement import device_of, placed_on
from tests import toys


def belongings(net: nn.Module) -> dict[str, tuple[Any, ...]]:
    """Of every parameter and buffer: the object, its memory, device and flag."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    return {name: (id(t), t.data_ptr(), t.device, t.requires_grad) for name, t in tensors.items()}


@pytest.mark.parametrize("returns", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_it_comes_back_to_its_memory_with_what_became_of_it_or_without(
    device: torch.device, returns: bool, fails: bool
) -> None:
    net = toys.Net()
    net.first.bias.requires_grad_(False)
    before, weight = belongings(net), net.first.weight.detach().clone()
    answer = None
    try:
        with placed_on(net, device, returns=returns):
            assert device_of(net) == device
            answer = net(torch.ones(4, 3, device=device)).sum()
            answer.backward()
            with torch.no_grad():
                net.first.weight.add_(1)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert answer is not None  # whose graph still holds what it was made of
    assert belongings(net) == before
    assert torch.equal(net.first.weight, weight + 1 if returns else weight)
    assert net.first.weight.grad is None and not any(p.is_inference() for p in net.parameters())


def test_a_network_in_two_places_is_refused(device: torch.device) -> None:
    net = toys.Net()
    net.head.to(device)
    with pytest.raises(BadInput, match=r"'first.weight' on cpu, 'head.weight' on cuda:0"), placed_on(net, device):
        pass
