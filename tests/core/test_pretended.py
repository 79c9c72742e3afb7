"""That the pretended card of the tests behaves as a card does, where a library may trip."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import toys
from tests.pretended import pretended


@pytest.fixture
def x(device: torch.device) -> Iterator[Tensor]:
    """[4, 3], there."""
    yield torch.arange(12.0).reshape(4, 3).sub(5).to(device)


REFUSED: dict[str, Callable[[Tensor], object]] = {
    "sum": lambda x: x + torch.ones(3),
    "equal": lambda x: torch.equal(x, x.cpu()),
    "cat": lambda x: torch.cat([x, x.cpu()]),
    "product": lambda x: x.cpu() @ x.T,
    "in place": lambda x: x.cpu().add_(x),
    "mask": lambda x: x.cpu()[x > 0],
    "gather": lambda x: x.gather(1, torch.zeros(4, 1, dtype=torch.long)),
    "set": lambda x: x.index_put_((torch.tensor([0]),), torch.ones(1, 3)),
    "number": lambda x: torch.nextafter(x, torch.tensor(1.0)),
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: np.asarray(x),
    "generator": lambda x: torch.randn(2, device=x.device, generator=torch.Generator()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_two_places_do_not_meet(name: str, x: Tensor) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"device|numpy"):
        REFUSED[name](x)


MADE: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x,
    "product": lambda x: x @ x.T,
    "number": lambda x: x + torch.tensor(2.0),
    "like": torch.zeros_like,
    "zeros": lambda x: torch.zeros(3, device=x.device),
    "word": lambda x: torch.zeros(3, device="cuda"),
    "range": lambda x: torch.arange(3, device=x.device),
    "new": lambda x: x.new_ones(2),
    "of a list": lambda x: torch.tensor([1, 2], device=x.device),
    "of an array": lambda x: torch.as_tensor(np.ones(2), device=x.device),
    "new of a list": lambda x: x.new_tensor([1.0, 2.0]),
    "as another": lambda x: torch.ones(2).to(x),
    "by name": lambda x: torch.ones(2).cuda(),
    "type": lambda x: x.double(),
    "random": lambda x: torch.rand(2, device=x.device),
    "sorted": lambda x: x.sort(dim=1).values,
    "mask there": lambda x: x[x > 0],
    "mask here": lambda x: x[(x > 0).cpu()],
    "indices here": lambda x: x[torch.tensor([2, 0])],
    "list": lambda x: x[[2, 0]],
    "where": lambda x: torch.where(x > 0, x, -torch.inf),
    "nonzero": lambda x: (x > 0).nonzero(),
    "view": lambda x: x[1:, :2],
    "resized": lambda x: x.new_empty(0).resize_(4, 2).copy_(x[:, :2]),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_there_stays_there_and_has_the_values_of_here(name: str, x: Tensor) -> None:
    made = MADE[name](x)
    assert made.device == x.device and made.is_cuda and not made.is_meta
    assert made.cpu().device.type == "cpu" and made.to("cpu").shape == made.shape
    if name not in ("random", "word", "by name"):
        assert made.tolist() == MADE[name](x.cpu()).tolist()


def test_values_change_in_place_through_views_and_from_here(x: Tensor) -> None:
    x[:, 0] = 5
    x[1:2].copy_(torch.zeros(1, 3))
    x[2, 1:] += 1
    assert x.cpu()[:, 0].tolist() == [5, 0, 5, 5] and x[1].sum().item() == 0 and float(x[2, 1]) == 3
    here = torch.ones(4, 3)
    assert here.copy_(x) is here and here.tolist() == x.tolist()
    assert x.to(x.device) is x and x.to(x.device, torch.float64).dtype == torch.float64


def losses(net: nn.Module, device: torch.device) -> list[float]:
    """Of some steps of training."""
    inputs, labels = torch.linspace(-1, 1, 12).reshape(4, 3).to(device), torch.tensor([0, 1, 0, 1], device=device)
    step, found = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), []
    for _ in range(9):
        loss = nn.functional.cross_entropy(net(inputs), labels)
        loss.backward()
        step.step()
        step.zero_grad()
        found.append(float(loss.detach()))
    return found


def test_a_module_moves_and_learns_there_as_it_does_here(device: torch.device) -> None:
    torch.manual_seed(0)
    net = toys.Net()
    net.drop.p = 0.0
    there = copy.deepcopy(net).to(device)
    assert {t.device for t in there.state_dict().values()} == {device}
    assert losses(there, device) == pytest.approx(losses(net, torch.device("cpu")), abs=1e-4)
    again = copy.deepcopy(there)
    assert {t.device for t in again.state_dict().values()} == {device}
    back = there.cpu()
    assert {t.device.type for t in back.state_dict().values()} == {"cpu"}
    torch.testing.assert_close(back.state_dict(), net.state_dict(), rtol=1e-4, atol=1e-4)


def test_a_moved_parameter_is_the_same_object_with_its_flags_and_gradient(device: torch.device) -> None:
    net = nn.Linear(3, 2)
    net.bias.requires_grad_(False)
    net(torch.ones(1, 3)).sum().backward()
    weight = net.weight
    for place in (device, torch.device("cpu")):
        net.to(place)
        assert net.weight is weight and weight.device == place and isinstance(weight, nn.Parameter)
        assert weight.requires_grad and weight.grad is not None and weight.grad.device == place
        assert not net.bias.requires_grad


def test_weights_load_across_places(device: torch.device) -> None:
    one, other = nn.Linear(3, 2), nn.Linear(3, 2).to(device)
    weight = other.weight
    other.load_state_dict(one.state_dict())
    assert other.weight is weight and weight.device == device and torch.equal(weight.cpu(), one.weight)
    nn.init.zeros_(other.weight)
    one.load_state_dict(other.state_dict())
    assert one.weight.device.type == "cpu" and not one.weight.any()


def test_a_module_moved_in_inference_mode_is_lost_to_training(device: torch.device) -> None:
    net = nn.Linear(3, 2)
    with torch.inference_mode():
        net.to(device)
    assert net.weight.is_inference()
    with pytest.raises(RuntimeError, match="inference"):
        net.requires_grad_(True)(torch.ones(1, 3, device=device)).sum().backward()


def test_two_cards_are_two_places_and_none_is_left_behind() -> None:
    available = torch.cuda.is_available
    with pretended(cards=2):
        assert torch.cuda.is_available() and torch.cuda.device_count() == 2
        a, b = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1")
        assert (a.device, b.device, (b + 1).device) == tuple(torch.device("cuda", n) for n in (0, 1, 1))
        assert b.to(a).device == a.device and a.new_zeros(1, device=b.device).device == b.device
        with pytest.raises(RuntimeError, match="cuda:1 and cuda:0"):
            a + b
        with pytest.raises(RuntimeError, match="cuda:1 and cuda:0"):
            a[b > 0]
    assert torch.cuda.is_available is available
    assert not torch.__future__.get_swap_module_params_on_conversion()
