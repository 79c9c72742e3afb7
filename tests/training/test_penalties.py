"""Penalties and projections in a loop of one's own: closed forms, limits, and what stays."""

import pytest
import torch
from torch import nn

from reclaim.core.errors import BadInput
from reclaim.training.penalties import squared_distance, start_of
from reclaim.training.projections import keep_absent_rows, keep_within
from tests import toys
from tests.wrapping import rows


def moved() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network, and where it started."""
    torch.manual_seed(0)
    net = toys.Net()
    start = start_of(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    return net, start


def test_the_squared_distance_is_a_sum_of_squares_and_its_gradient_twice_the_way() -> None:
    net, start = moved()
    found = squared_distance(net, start)
    ways = {name: (parameter - start[name]).detach() for name, parameter in net.named_parameters()}
    torch.testing.assert_close(found, torch.stack([way.square().sum() for way in ways.values()]).sum())
    found.backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * ways[name])


def test_at_the_start_it_is_zero_and_frozen_or_left_out_parameters_do_not_count() -> None:
    net, start = moved()
    assert squared_distance(net, start_of(net)).item() == 0
    net.first.requires_grad_(False)
    alone = {name: origin for name, origin in start.items() if name in ("head.weight", "first.weight")}
    way = (net.head.weight - start["head.weight"]).square().sum()
    torch.testing.assert_close(squared_distance(net, alone), way)


def test_a_projection_leaves_what_is_near_and_brings_the_rest_to_the_radius_on_the_same_line() -> None:
    net, start = moved()
    ways = {name: (parameter - start[name]).detach() for name, parameter in net.named_parameters()}
    radius = 3.0
    assert min(way.norm() for way in ways.values()) < radius < max(way.norm() for way in ways.values())
    before = toys.copied(dict(net.named_parameters()))
    keep_within(net, start, radius)
    for name, parameter in net.named_parameters():
        now = (parameter - start[name]).detach()
        if ways[name].norm() <= radius:
            assert torch.equal(parameter, before[name])
        else:
            assert float(now.norm()) == pytest.approx(radius, rel=1e-5)
            torch.testing.assert_close(now, ways[name] * (radius / ways[name].norm()))


def test_with_radius_zero_it_is_the_start() -> None:
    net, start = moved()
    keep_within(net, start, 0)
    assert toys.same(dict(net.named_parameters()), start)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_absent_rows_stay_bit_for_bit_in_any_loop_until_the_handle_is_removed(optimizer) -> None:
    torch.manual_seed(0)
    net, (x, y) = toys.Net(), rows("train")
    start = toys.copied(net.state_dict())
    more = {"momentum": 0.9, "nesterov": True} if optimizer is torch.optim.SGD else {}
    steps = optimizer(net.parameters(), lr=0.05, weight_decay=0.1, **more)
    handle = keep_absent_rows(steps, net.head, toys.SEEN)

    def step() -> None:
        steps.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        steps.step()

    for _ in range(5):
        step()
    for name in ("head.weight", "head.bias"):
        assert torch.equal(net.state_dict()[name][~toys.SEEN], start[name][~toys.SEEN])
        assert not torch.isclose(net.state_dict()[name][toys.SEEN], start[name][toys.SEEN]).any()
    handle.remove()
    step()
    assert not torch.equal(net.head.weight[~toys.SEEN], start["head.weight"][~toys.SEEN])


def test_what_does_not_fit_is_refused() -> None:
    net, start = moved()
    with pytest.raises(BadInput, match=r"none of the 6 parameters that are trained .*\n.*start_of\(network\)"):
        squared_distance(net, {"other": torch.zeros(1)})
    with pytest.raises(BadInput, match=r"'head.bias' started with shape \[4\], and has \[5\]"):
        squared_distance(net, {**start, "head.bias": torch.zeros(4)})
    with pytest.raises(BadInput, match="radius"):
        keep_within(net, start, -1)
    steps = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(BadInput, match="`seen` has 4 entries, and Linear has 5, 5 rows"):
        keep_absent_rows(steps, net.head, toys.SEEN[:4])
    with pytest.raises(BadInput, match="ReLU has no rows"):
        keep_absent_rows(steps, nn.ReLU(), toys.SEEN)
