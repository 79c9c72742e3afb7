"""The best inverse temperature: every number of a pass by hand, the optimum by another solver, the ends by formula."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from reclaim.calibration.fitting import temperature
from reclaim.calibration.fitting.temperature import best_beta, slope
from reclaim.calibration.rows import Rows
from reclaim.core.several import Several
from tests.calibration.reference import nll, sampled

SCALES = pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])


@dataclass(frozen=True)
class Counted(Rows):
    """Rows that note how often all of them were read."""

    def blocks(self, stride: int = 1, *more: Any, **others: Any) -> Iterator[tuple[Tensor, Tensor]]:
        if stride == 1:
            READ.append(1)
        return super().blocks(stride, *more, **others)


READ: list[int] = []


def counted(z: Tensor, y: Tensor) -> Rows:
    READ.clear()
    return Counted(z, y, torch.ones(z.shape[1], dtype=torch.bool))


def width(z: Tensor) -> float:
    return float((z - z.amax(dim=1, keepdim=True)).double().square().mean().sqrt())


def brent(z: Tensor, y: Tensor) -> float:
    """The inverse temperature by another solver, in units of the logits' width."""
    unit = width(z)
    found = minimize_scalar(
        lambda log: nll(z.double() * math.exp(log) / unit, y), bounds=(-8, 8), options={"xatol": 1e-9}
    )
    return math.exp(float(found.x)) / unit


def by_hand(z: Tensor, y: Tensor, beta: float) -> list[float]:
    """Loss, first and second derivative, share of right rows and width, row by row."""
    sums = [0.0] * 5
    for row, label in zip(z.double().tolist(), y.tolist(), strict=True):
        top = max(row)
        powers = [math.exp(beta * (one - top)) for one in row]
        p = [power / sum(powers) for power in powers]
        mean = sum(a * b for a, b in zip(p, row, strict=True))
        sums[0] -= math.log(p[label])
        sums[1] += mean - row[label]
        sums[2] += sum(a * (b - mean) ** 2 for a, b in zip(p, row, strict=True))
        sums[3] += row[label] == top
        sums[4] += sum((one - top) ** 2 for one in row) / len(row)
    loss, first, second, right, wide = (one / len(y) for one in sums)
    return [loss, first, second, right, math.sqrt(wide)]


@SCALES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stride", [1, 3])
def test_every_number_of_a_pass_is_the_one_by_hand(scale: float, dtype: torch.dtype, stride: int) -> None:
    z, y = sampled(n=100)
    z = (scale * (z.round() + 5)).to(dtype)  # with equal logits; far from 0
    rows, expected = Rows(z, y, torch.ones(5, dtype=torch.bool)), by_hand(z[::stride], y[::stride], 0.7 / scale)
    made = slope(rows, 0.7 / scale, stride)
    assert [made.nll, made.first, made.second, made.right, made.width] == pytest.approx(expected, rel=1e-6)
    less = slope(rows, 0.7 / scale, stride, curvature=False)
    assert [less.nll, less.first, less.right] == pytest.approx([expected[0], expected[1], expected[3]], rel=1e-6)
    assert math.isnan(less.second)


def test_each_of_several_processes_reads_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = sampled(n=100_000)
    rows, parts = Rows(z, y, torch.ones(5, dtype=torch.bool)), []
    monkeypatch.setattr(Several, "summed", lambda self, own: parts.append(own) or own)
    for rank in range(2):
        monkeypatch.setattr(temperature, "several", lambda rank=rank: Several(rank, 2))
        slope(rows, 0.7)
    (first, second) = parts
    assert first[-1] + second[-1] == 100_000 and 0 < first[-1] < 100_000
    whole = slope(rows.pick(torch.arange(100_000)), 0.7) if monkeypatch.undo() is None else None
    assert whole is not None and whole.nll == pytest.approx(float(first[0] + second[0]) / 100_000, rel=1e-9)


@SCALES
@pytest.mark.parametrize("n", [40, 1024, 2047, 2048, 20_000])
def test_it_is_the_optimum_of_another_solver_whatever_the_unit_of_the_logits(n: int, scale: float) -> None:
    z, y = sampled(n=n)
    rows = counted(3 * scale * z, y)
    found = best_beta(rows)
    assert found.beta == pytest.approx(brent(3 * z, y) / scale, rel=1e-6) and found.note == ""
    assert found.nll == pytest.approx(nll(3 * z.double() * scale * found.beta, y), rel=1e-7)
    assert abs(found.gradient) < 1e-7 and found.details() == {
        "nll": found.nll, "gradient": found.gradient, "passes": found.passes, "note": "",
    }  # fmt: skip
    if n >= 2048:  # a sample finds the neighbourhood, and the secant the rest
        assert found.passes == len(READ) <= 5
    else:  # as few rows as a sample has are read by every step
        assert found.passes <= 3 and len(READ) <= 10


def test_an_optimum_far_from_where_the_search_starts_is_found_in_few_passes() -> None:
    z = sampled(n=20_000)[0]
    for power in (0.02, 30.0):  # nearly a coin's throw; nearly certain
        random = torch.Generator().manual_seed(1)
        labels = (power * z).softmax(dim=1).multinomial(1, generator=random).squeeze(1)
        found = best_beta(counted(z, labels))
        assert found.beta == pytest.approx(brent(z, labels), rel=1e-5)
        assert len(READ) == found.passes <= 12


def test_a_sample_that_is_unlike_all_rows_decides_nothing() -> None:
    z, y = sampled(n=4096)
    y[::2] = z.argmax(dim=1)[::2]  # those of the sample, every fourth, are all right, or all wrong; others are not
    for sign in (1, -1):
        given = z.clone()
        given[::4] *= 0.2 * sign
        found = best_beta(counted(given, y))
        assert found.note == "" and found.beta == pytest.approx(brent(given, y), rel=1e-6)


@SCALES
@pytest.mark.parametrize("n", [1, 2, 100, 3000])
def test_rows_that_are_all_right_may_cost_what_one_more_row_might(n: int, scale: float) -> None:
    z = torch.randn(n, 4, generator=torch.Generator().manual_seed(n)).double() * scale
    y = z.argmax(dim=1)
    found = best_beta(counted(z, y))
    assert found.note == "every row is right, so no temperature is the best one"
    assert found.nll == pytest.approx(1 / (n + 1), rel=1e-7) == nll(z * found.beta, y)
    made = slope(counted(z, y), found.beta)
    assert found.gradient == pytest.approx(made.first * found.beta) and found.gradient < 0
    assert 20 <= found.passes <= 50


@SCALES
@pytest.mark.parametrize("n", [300, 4096])
def test_rows_worse_than_chance_are_flattened_as_far_as_the_search_goes(n: int, scale: float) -> None:
    z, y = sampled(n=n)
    z = -z.double() * scale
    found = best_beta(counted(z, y))
    assert found.note == "worse than chance: the probabilities are made all but equal" and found.passes == 2
    assert found.beta == pytest.approx(1e-4 / width(z if n == 300 else z[::4]), rel=1e-6)
    made = slope(counted(z, y), found.beta)
    assert (found.nll, found.gradient) == pytest.approx((made.nll, made.first * found.beta)) and found.gradient > 0


def test_rows_no_better_than_chance_are_no_better_and_equal_logits_say_so() -> None:
    even = best_beta(counted(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])))
    assert even.note.startswith("worse than chance") and even.beta == pytest.approx(1e-4 / math.sqrt(0.5))
    equal = best_beta(counted(torch.full((10, 3), 7.0), torch.arange(10) % 3))
    assert (equal.beta, equal.gradient, equal.passes) == (1.0, 0.0, 1) and equal.nll == pytest.approx(math.log(3))
    assert equal.note == "all logits of a row are equal; nothing to scale"


@SCALES
def test_an_optimum_beyond_the_ends_of_the_search_is_its_end(scale: float) -> None:
    high = torch.tensor([[1e-3, 0.0, -100.0]] * 99 + [[0.0, 1e-3, -100.0]]).double() * scale
    found = best_beta(counted(high, torch.zeros(100, dtype=torch.long)))
    assert found.beta == pytest.approx(1e4 / width(high), rel=1e-12) and found.gradient < 0
    low = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 50 + [[1e-3, 0.0]]).double() * scale
    found = best_beta(counted(low, torch.tensor([0, 0] * 50 + [0])))
    assert found.beta == pytest.approx(1e-4 / width(low), rel=1e-12) and found.gradient > 0 and found.note == ""


def test_sums_over_many_rows_in_single_precision_are_as_exact_as_in_double() -> None:
    z, y = sampled(n=300_000)
    every = torch.ones(5, dtype=torch.bool)
    single, double = slope(Rows(z, y, every), 0.7), slope(Rows(z.double(), y, every), 0.7)
    for name in ("nll", "first", "second", "width"):
        assert getattr(single, name) == pytest.approx(getattr(double, name), rel=2e-7), name
    assert single.nll == pytest.approx(double.nll, rel=2e-8)
