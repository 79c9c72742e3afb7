"""Functions by points: NumPy's lines, steps by a loop, bins by counting; on a card what they are on the CPU."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from reclaim.calibration.fitting.knots import Knots, bin_edges, bin_means

SIZES = pytest.mark.parametrize("sizes", [(4,), (1,), (3, 1, 7, 2), (1, 1), (8, 9, 16, 1), (2, 5)])


def drawn(sizes: tuple[int, ...], steps: bool) -> Knots:
    random = np.random.default_rng(sum(sizes))
    x = [np.sort(random.choice(64, size, replace=False)) / 64 for size in sizes]
    if steps:
        x = [np.append(one[:-1], math.inf) for one in x]
    return Knots.of([(torch.from_numpy(one), torch.from_numpy(random.random(len(one)))) for one in x])


def points(given: Knots, columns: int) -> Tensor:
    """Numbers [N, columns] at the points, between them and outside."""
    grid = torch.arange(-4, 140, dtype=torch.float64) / 128
    return torch.stack([grid.roll(5 * k) for k in range(columns)], dim=1)


@SIZES
def test_straight_lines_are_those_of_numpy_also_on_a_card(sizes: tuple[int, ...], device: torch.device) -> None:
    made = drawn(sizes, steps=False)
    p = points(made, len(sizes) if len(sizes) > 1 else 3)
    for k in range(p.shape[1]):
        own = 0 if len(sizes) == 1 else k
        x, y = made.x.split(sizes)[own].numpy(), made.y.split(sizes)[own].numpy()
        expected = torch.from_numpy(np.interp(p[:, k].numpy(), x, y))
        torch.testing.assert_close(made.lines(p)[:, k], expected, rtol=0, atol=1e-12)
        there = made.lines(p.to(device))
        assert there.device == device and there.shape == p.shape
        torch.testing.assert_close(there.cpu()[:, k], expected, rtol=0, atol=1e-12)


@SIZES
def test_steps_take_the_first_bin_that_reaches_as_far_also_on_a_card(
    sizes: tuple[int, ...], device: torch.device
) -> None:
    made = drawn(sizes, steps=True)
    p = points(made, len(sizes))
    expected = torch.zeros_like(p)
    for k, (edges, values) in enumerate(zip(made.x.split(sizes), made.y.split(sizes), strict=True)):
        for row, one in enumerate(p[:, k].tolist()):
            expected[row, k] = next(value for edge, value in zip(edges, values, strict=True) if one <= edge)
    assert torch.equal(made.steps(p), expected) and torch.equal(made.steps(p.to(device)).cpu(), expected)


def test_functions_are_laid_one_after_the_other_in_double_precision() -> None:
    made = Knots.of([(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])), (torch.tensor([5.0]), torch.tensor([6.0]))])
    assert (made.x.tolist(), made.y.tolist(), made.sizes) == ([1, 2, 5], [3, 4, 6], (2, 1))
    assert made.x.dtype == made.y.dtype == torch.float64


def edges_by_counting(values: list[float], bins: int) -> list[float]:
    """Half of the cuts part the rows, half the sum; a cut inside a run of equal values moves to its end."""
    n, total, cuts = len(values), sum(values), []
    by_sum = (bins - 1) // 2
    by_rows = bins - 1 - by_sum
    cuts += [cut * n // (by_rows + 1) for cut in range(1, by_rows + 1)]
    for cut in range(1, by_sum + 1):
        before = 0.0
        for index, value in enumerate(values):
            before += value
            if before >= cut * total / (by_sum + 1) - 1e-12:
                cuts.append(index)
                break
    ends = [sum(value <= values[cut - 1] for value in values) for cut in cuts if cut > 0]
    middles = {(values[end - 1] + values[end]) / 2 for end in ends if end < n}
    return [*sorted(middles), math.inf]


@pytest.mark.parametrize("bins", [1, 2, 3, 4, 5, 8, 15])
@pytest.mark.parametrize("kind", ["spread", "equal in runs", "mostly zero", "few", "one"])
def test_edges_are_where_counting_puts_them_and_bins_hold_means(bins: int, kind: str, device: torch.device) -> None:
    random = torch.Generator().manual_seed(bins)
    values = torch.rand(97, generator=random, dtype=torch.float64).pow(3)
    if kind == "equal in runs":
        values = (8 * values).round() / 8
    elif kind == "mostly zero":
        values[30:] = 0
    elif kind != "spread":
        values = values[: {"few": 5, "one": 1}[kind]]
    ordered = values.sort().values
    expected = edges_by_counting(ordered.tolist(), bins)
    assert bin_edges(ordered, bins).tolist() == pytest.approx(expected)
    assert bin_edges(ordered.to(device), bins).tolist() == pytest.approx(expected)
    labels = torch.rand(len(values), generator=random)
    edges, means = bin_means(values, labels, bins)
    assert edges.tolist() == pytest.approx(expected) and means.dtype == torch.float64
    for low, high, mean in zip([-math.inf, *expected[:-1]], expected, means.tolist(), strict=True):
        assert mean == pytest.approx(float(labels[(values > low) & (values <= high)].double().mean()))
