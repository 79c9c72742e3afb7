"""Small nets: where they start, what they say, how long they learn, and what is kept of them."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.fitting import nets
from reclaim.calibration.fitting.nets import Net, by_blocks, learn, sampled, settled
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Rows
from reclaim.core.groups import pieces
from tests.calibration.reference import sampled as calibrated

START = Net(torch.ones(2, 2).double(), torch.zeros(1, 3).double(), torch.zeros(2, 2).double())
TARGET = 4.0


def rows(n: int = 60, groups: Tensor | None = None) -> Rows:
    z, y = calibrated(n=n, c=4)
    return Rows(z.double(), y, torch.ones(4, dtype=torch.bool), groups=groups)


def parabola(targets: Tensor) -> Callable[[Net, Tensor], Tensor]:
    """Of the sum S of the second layer's four numbers: the mean of (S - target)^2, also of squares near 0."""
    return lambda net, which: (net.second.sum() - targets[which]).square().mean()


def valley(steep: float) -> Callable[[Net, Tensor], Tensor]:
    """A bent one, through which L-BFGS takes many steps, whatever the rows."""

    def loss(net: Net, which: Tensor) -> Tensor:
        a, b = net.second[0]
        return steep * (b - a.square()).square() + (a - 5).square() + 0 * net.first.sum()

    return loss


def test_a_start_reads_its_inputs_in_their_own_units_and_says_nothing() -> None:
    x = torch.tensor([[1.0, 10.0, 5.0], [3.0, 10.0, 7.0], [5.0, 10.0, 12.0]])
    made = Net.start(x, 20_000, 4, seed=3)
    assert made.first.shape == (20_000, 4) and made.second.shape == (4, 20_001)
    assert made.inputs.tolist() == [[3.0, 10.0, 8.0], pytest.approx([(8 / 3) ** 0.5, 1e-6, (26 / 3) ** 0.5])]
    assert {part.dtype for part in vars(made).values()} == {torch.float64}
    spread = made.first.std(dim=0)
    torch.testing.assert_close(spread, torch.tensor([4 / 3, 4 / 3, 4 / 3, 1.0]).sqrt().double(), rtol=0.03, atol=0)
    assert torch.equal(made(x), torch.zeros(3, 4)) and made(x.double()).dtype == torch.float64
    assert torch.equal(made.first, Net.start(x, 20_000, 4, seed=3).first)
    assert not torch.equal(made.first, Net.start(x, 20_000, 4, seed=4).first)


def test_it_is_one_hidden_layer_of_tanh() -> None:
    made = Net(
        *(torch.randn(*size, generator=torch.Generator().manual_seed(7)).double() for size in ((2, 3), (5, 4), (2, 6)))
    )
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(8)).double()
    for row, answer in zip(x, made(x), strict=True):
        inputs = [(row[i] - made.inputs[0, i]) / made.inputs[1, i] for i in range(3)]
        hidden = [(sum(w[i] * inputs[i] for i in range(3)) + w[3]).tanh() for w in made.first]
        expected = [float(sum(w[h] * hidden[h] for h in range(5)) + w[5]) for w in made.second]
        assert answer.tolist() == pytest.approx(expected, rel=1e-12)
    single = made.single()
    assert all(torch.equal(vars(single)[name], part.float()) for name, part in vars(made).items())


@pytest.mark.parametrize("n", [3, 60])
def test_it_learns_to_the_optimum_under_a_ridge_of_unit_width(n: int) -> None:
    made, steps = learn(parabola(torch.full((n,), TARGET)), rows(n), START, seed=0)
    total = TARGET / (1 + 1 / (8 * n))  # of (S - t)^2 + S^2 / (4 * 2 n), S the sum of four equal numbers
    torch.testing.assert_close(made.second, torch.full((2, 2), total / 4).double(), rtol=1e-4, atol=0)
    assert torch.equal(made.first, START.first) and torch.equal(made.inputs, START.inputs) and 1 <= steps <= 20
    raised = replace(START, second=START.second + 1)
    made, _ = learn(parabola(torch.full((n,), TARGET + 4)), rows(n), raised, seed=0)
    torch.testing.assert_close(made.second, torch.full((2, 2), total / 4 + 1).double(), rtol=1e-4, atol=0)


def by_folds(loss: Callable[[Net, Tensor], Tensor], given: Rows, seed: int, most: int) -> int:
    """The step after which the held-out loss of three folds is the least, one step after the other."""
    folds = [part.sort().values for part in pieces(len(given), 3, np.random.default_rng(seed), given.groups)]
    best, steps, losses = float("inf"), 0, []
    for held in range(len(folds)):
        rest = torch.cat([part for index, part in enumerate(folds) if index != held])
        path = [START, *itertools.islice(nets._descend(loss, rest, START, most), most)]
        path += [path[-1]] * (most + 1 - len(path))
        losses.append([float(loss(net, folds[held])) * len(folds[held]) for net in path])
    for step in range(most + 1):
        now = sum(own[step] for own in losses)
        best, steps = (now, step) if now < best else (best, steps)
        if step - steps >= 20:
            break
    return steps


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("groups", [None, torch.arange(60) // 7, torch.arange(60) // 30])
def test_it_takes_as_many_steps_as_suit_rows_held_out(seed: int, groups: Tensor | None) -> None:
    given, random = rows(groups=groups), torch.Generator().manual_seed(5)
    towards = torch.randn(60, 4, generator=random).double() + 0.3

    def loss(net: Net, which: Tensor) -> Tensor:
        return (net.second.flatten() * torch.tensor([1.0, 3.0, 9.0, 27.0]) - towards[which]).square().sum(dim=1).mean()

    made, steps = learn(loss, given, START, seed)
    assert steps == by_folds(loss, given, seed, 60)
    path = [START, *nets._descend(loss, torch.arange(60), START, steps)]
    assert torch.equal(made.second, path[-1].second)


def test_what_no_held_out_row_likes_is_not_learnt() -> None:
    given = rows(groups=torch.arange(60) // 20)

    def loss(net: Net, which: Tensor) -> Tensor:  # of rows of one group the opposite of the others'
        sign = (given.groups[which].double() - 1).mean()
        return (net.second.sum() - 10 * sign).square() + 1e-3 * len(which) * net.second.square().sum()

    made, steps = learn(loss, given, START, seed=0)
    assert steps == 0 and made is START
    alone = rows(groups=torch.zeros(60, dtype=torch.long))
    assert learn(parabola(torch.full((60,), TARGET)), alone, START, seed=0) == (START, 0)


def test_it_starts_afresh_after_twenty_steps_and_ends_after_two_hundred() -> None:
    one = torch.arange(60)
    path = list(nets._descend(valley(500), one, START, 200))
    assert 80 < len(path) < 120  # it goes on after the first twenty, and ends by itself
    losses = [float(valley(500)(net, one)) + float(net.second.square().sum()) / 120 for net in path]
    assert losses == sorted(losses, reverse=True)
    assert len(list(nets._descend(valley(500), one, START, 5))) == 5
    assert [net.second.tolist() for net in nets._descend(valley(500), one, START, 5)] == [
        net.second.tolist() for net in path[:5]
    ]
    assert learn(valley(500), rows(), START, 0, most=4)[1] == 4
    _, steps = learn(valley(500), rows(), START, 0)
    assert 80 < steps < 120 and learn(valley(5000), rows(), START, 0)[1] == 200


def test_the_threads_of_torch_are_one_within_and_what_they_were_after() -> None:
    before, within = torch.get_num_threads(), set()
    torch.set_num_threads(2)

    def loss(net: Net, which: Tensor) -> Tensor:
        within.add(torch.get_num_threads())
        return net.second.square().sum()

    try:
        learn(loss, rows(), START, 0)
        assert within == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_of_very_many_rows_a_sample_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nets._MOST == 1_048_576  # logits, as many as a net learns from in seconds
    monkeypatch.setattr(nets, "_MOST", 60)
    given = rows(15)
    assert sampled(given, 0) is given
    assert len(sampled(rows(16), 0)) == 15
    given = rows(40)
    one, other = sampled(given, 0), sampled(given, 1)
    assert len(one) == len(other) == 15 and not torch.equal(one.logits, other.logits)
    assert torch.equal(one.logits, sampled(given, 0).logits)
    assert all(bool((given.logits == row).all(dim=1).any()) for row in one.logits)
    monkeypatch.setattr(nets, "_MOST", 3)
    assert len(sampled(given, 0)) == 1


def test_what_makes_rows_less_likely_than_the_temperature_gives_way_to_it() -> None:
    given = rows(300)
    every, found = Fitted((True,) * 4), best_beta(given)
    plain, worse = Temperature(1 / found.beta, every), Temperature(9.0, every)
    kept = settled(worse, plain, given, found, steps=3)
    told = kept.fitted.details
    assert kept.temperature == plain.temperature and told["note"] == "the single temperature was better"
    assert (told["nll"], told["nll_temperature"], told["steps"]) == (found.nll, found.nll, 3)
    assert told["nll_before"] == pytest.approx(float(cross_entropy(given.logits, given.labels)), rel=1e-9)
    kept = settled(worse, plain, given, replace(found, nll=9.0, note="odd"))
    assert kept.temperature == 9.0 and kept.fitted.details["note"] == "odd"
    assert kept.fitted.details["nll"] == pytest.approx(float(cross_entropy(given.logits / 9, given.labels)), rel=1e-9)
    assert settled(worse, plain, given, replace(found, note="odd")).fitted.details["note"] == "odd"
    equal = replace(found, nll=kept.fitted.details["nll"])
    assert settled(worse, plain, given, equal).temperature == 9.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_blocks_are_changed_in_double_precision_and_come_back_as_they_came(dtype: torch.dtype) -> None:
    z, kinds = (1000 * torch.randn(7, 3, generator=torch.Generator().manual_seed(0))).to(dtype), set()

    def change(rows: Tensor) -> Tensor:
        kinds.add(rows.dtype)
        return rows * torch.tensor([1.0, 1e306, -1e306])

    made = by_blocks(change, z)
    kind = torch.float32 if dtype == torch.int64 else dtype
    assert kinds == {torch.float64} and made.dtype == kind and made.shape == z.shape
    assert torch.equal(made[:, 0], z[:, 0].to(kind))
    most = torch.finfo(kind).max
    assert set(made[:, 1:].abs().flatten().tolist()) == {most}
    assert torch.equal(made[:, 1] > 0, z[:, 1] > 0) and torch.equal(made[:, 2] > 0, z[:, 2] < 0)
    assert by_blocks(change, z[:0]).shape == (0, 3) and isinstance(by_blocks(change, z.numpy()), np.ndarray)
