"""Maps of probabilities start at the best temperature: near it where it is true, at it where rows tell no more."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.fitting import probabilities
from reclaim.calibration.fitting.probabilities import (
    binary_newton,
    class_by_class,
    inside_probabilities,
    joined,
    log_odds,
    traced,
)
from reclaim.calibration.rows import Rows
from reclaim.core.errors import BadInput
from reclaim.core.registry import find
from tests import toys
from tests.calibration.reference import nll, sampled

# what labels of fresh rows may cost more than under the best temperature, which is the truth here, so that everything
# fitted beside it is noise; and what they cost, with and without the start at the temperature
COSTS = [
    ("isotonic", {}, 0.005),  # .0020, .0079
    ("isotonic", {"kind": "one-vs-rest"}, 0.015),  # .0099, .0216
    ("histogram", {}, 0.017),  # .0129, .0213
    ("beta", {}, 0.002),  # .0008, .0040
    ("scaling-binning", {}, 0.005),  # .0028, .0067
    ("ensemble-temperature", {}, 0.0005),  # .0002
]
METHODS = pytest.mark.parametrize(("name", "numbers"), [case[:2] for case in COSTS[:-1]])


@pytest.mark.parametrize(("name", "numbers", "most"), COSTS)
def test_overconfident_logits_get_nearly_as_good_as_by_a_temperature(
    name: str, numbers: dict[str, Any], most: float
) -> None:
    z, y = sampled(n=24_000)
    z, y, fresh, labels = 4 * z[:4000], y[:4000], 4 * z[4000:], y[4000:]
    made, best = find("calibrators", name).fit(z, y, **numbers), Temperature.fit(z, y)
    assert made.temperature == best.temperature
    assert nll(made(fresh), labels) < nll(best(fresh), labels) + most


@pytest.mark.parametrize("name", ["isotonic", "beta"])  # .0019 and .0041; .0197 and .0220 without the start
def test_so_they_do_with_many_classes_where_there_are_no_bins(name: str) -> None:
    z, y = sampled(n=30_000, c=50)
    z, y, fresh, labels = 4 * z[:10_000], y[:10_000], 4 * z[10_000:], y[10_000:]
    made, best = find("calibrators", name).fit(z, y), Temperature.fit(z, y)
    assert nll(made(fresh), labels) < nll(best(fresh), labels) + 0.006


@METHODS
def test_the_margin_between_the_groups_is_divided_by_the_temperature(name: str, numbers: dict[str, Any]) -> None:
    z, y = sampled()
    seen = torch.tensor([True, True, False, True, False])
    made = find("calibrators", name).fit(4 * z[seen[y]], y[seen[y]], seen, **numbers)
    before, after = (toys.group_margin(logits, seen) for logits in (4 * z, made(4 * z)))
    torch.testing.assert_close(after, before / made.temperature, rtol=1e-4, atol=1e-5)
    assert made.temperature == pytest.approx(4, rel=0.1)


@METHODS
@pytest.mark.parametrize("rows", ["all right", "worse than chance", "all logits of a row are equal"])
def test_rows_without_a_best_temperature_change_nothing_else(name: str, numbers: dict[str, Any], rows: str) -> None:
    z, y = sampled(n=600)
    fresh: Tensor = z[300:]
    z, y = z[:300], y[:300]
    if rows == "all right":
        y = z.argmax(dim=1)
    else:
        z = -z if rows == "worse than chance" else torch.zeros_like(z)
    made, best = find("calibrators", name).fit(z, y, **numbers), Temperature.fit(z, y)
    assert made.fitted.details["note"] == best.fitted.details["note"] != ""
    if name == "scaling-binning":  # it has bins even so
        assert nll(made(z), y) < nll(best(z), y) + 0.1
        assert bool(made(fresh).isfinite().all())
    else:
        torch.testing.assert_close(made(fresh).softmax(dim=1), best(fresh).softmax(dim=1), rtol=1e-4, atol=1e-6)


def test_log_odds_are_of_probabilities_that_stop_short_of_certainty() -> None:
    p = torch.tensor([[0.3, 0.0, 1.0, 1e-14, 1e-9]], dtype=torch.float64)
    low, high = math.log(1e-12), -math.log(1e-12)
    first, second = log_odds(p, 2)
    assert first[0].tolist() == pytest.approx([math.log(0.3), low, 0, low, math.log(1e-9)], rel=1e-6, abs=1e-11)
    assert second[0].tolist() == pytest.approx([-math.log(0.7), 0, high, 0, 1e-9], rel=1e-4, abs=1e-11)
    (both,) = log_odds(p, 1)
    torch.testing.assert_close(both, first + second)


@pytest.mark.parametrize("columns", [1, 8 * 700, 8 * 700 * 2, 8 * 700 * 3 + 5, 1 << 25])
def test_columns_are_those_of_the_whole_however_many_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    assert probabilities._COLUMNS == 33_554_432  # bytes, the 32 MB of its documentation
    z, y = sampled(n=700)
    z, seen = torch.cat([z[:, :2], z[:, :1] + 9, z[:, 2:]], dim=1), torch.arange(6) != 2
    rows = Rows(z, y, seen)
    own = Rows.blocks
    monkeypatch.setattr(Rows, "blocks", lambda self, *a, **b: own(self, size=4 * 6 * 300, **b))  # several blocks
    monkeypatch.setattr(probabilities, "_COLUMNS", columns)
    made = list(class_by_class(rows, 2.5))
    assert len(made) == 5 and all(column.dtype == torch.float64 for column in made)
    torch.testing.assert_close(torch.stack(made, dim=1), (z[:, seen].double() / 2.5).softmax(dim=1))


def test_inside_probabilities_are_of_seen_classes_at_a_temperature_and_a_trace_is_a_hundredth() -> None:
    z = sampled(n=20, c=4)[0]
    seen = torch.tensor([True, False, True, True])
    same, mask, p = inside_probabilities(z, tuple(seen.tolist()), "map", 2.0)
    assert torch.equal(same, z) and torch.equal(mask, seen) and p.dtype == torch.float64
    torch.testing.assert_close(p, (z[:, seen].double() / 2).softmax(dim=1))
    torch.testing.assert_close(inside_probabilities(z, (True,) * 4, "map")[2], z.double().softmax(dim=1))
    with pytest.raises(BadInput, match=r"this odd map is for 3 classes; the logits have the shape \[20, 4\]"):
        inside_probabilities(z, (True,) * 3, "odd map")
    made = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert traced(made, torch.tensor([[0.4, 0.6]])).tolist() == [pytest.approx([0.004, 0.996])]


def test_what_is_joined_has_the_probabilities_inside_and_the_margin_outside() -> None:
    z, random = sampled(n=50, c=5)[0], torch.Generator().manual_seed(1)
    seen = torch.tensor([True, True, False, True, False])
    p = torch.rand(50, 3, generator=random, dtype=torch.float64)
    for scale in (1.0, 0.4):
        made = joined(z, z, seen, p.clone(), scale=scale)
        torch.testing.assert_close(
            made[:, seen].softmax(dim=1).double(), p / p.sum(dim=1, keepdim=True), rtol=1e-5, atol=0
        )
        torch.testing.assert_close(made[:, ~seen], scale * z[:, ~seen])
        torch.testing.assert_close(made[:, seen].amax(dim=1), scale * z[:, seen].amax(dim=1))
        every = joined(z[:, :3], z[:, :3], torch.ones(3, dtype=torch.bool), p.clone(), scale=scale)
        torch.testing.assert_close(every, (p / p.sum(dim=1, keepdim=True)).log().float())
    assert torch.equal(joined(z, z, seen, p.clone()), joined(z, z, seen, p.clone(), scale=1.0))
    zero = joined(z, z, seen, torch.tensor([[0.0, 0.5, 0.5]] * 50, dtype=torch.float64))
    assert bool(zero.isfinite().all()) and float(zero[:, 0].max()) < -600


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_stays_the_only_largest_where_that_is_asked_for(dtype: torch.dtype) -> None:
    z = torch.tensor([[3.0, 1.0, 2.0, 9.0], [1.0, 4.0, 4.0, -9.0], [2.0, 1.0, 0.0, 7.0]], dtype=dtype)
    seen = torch.tensor([True, True, True, False])
    p = torch.tensor([[0.4, 0.2, 0.4], [0.2, 0.4, 0.4], [0.4, 0.4, 0.4]], dtype=torch.float64)
    made = joined(z, z, seen, p.clone(), keep_top=True)
    less = torch.nextafter(torch.tensor(3.0), torch.tensor(0.0))
    assert made[0].tolist() == [3.0, pytest.approx(3 - math.log(2)), float(less), 9.0]
    assert made[1].tolist() == [pytest.approx(4 - math.log(2)), 4.0, 4.0, -9.0]
    two = torch.nextafter(torch.tensor(2.0), torch.tensor(0.0))
    assert made[2].tolist() == [2.0, float(two), float(two), 7.0]
    assert joined(z, z, seen, p.clone())[0, 2] == 3.0  # up to rounding, as `p` says


@pytest.mark.parametrize("slopes", [1, 2])
@pytest.mark.parametrize("width", [0.5, 10.0, None])
@pytest.mark.parametrize("bend", [1.0, 12.0])
@pytest.mark.parametrize("held", [False, True])
def test_regressions_are_the_optimum_of_their_formula(
    slopes: int, width: float | None, bend: float, held: bool
) -> None:
    z, y = sampled(n=12_000, c=3)  # in several blocks
    z = bend * (z + torch.tensor([0.0, 0.5, 2.0]))
    y[(y == 2) & (z.argmax(dim=1) != 2)] = 0
    rows, more = Rows(z.double(), y, torch.ones(3, dtype=torch.bool)), {} if width is None else {"width": width}
    active = torch.ones(3, slopes, dtype=torch.bool)
    if held:
        active[1, 0], active[2, -1] = False, False
        more["active"] = active
    made = binary_newton(rows, slopes=slopes, temperature=1.7, **more)
    inputs = torch.stack([*log_odds((z.double() / 1.7).softmax(dim=1), slopes), torch.ones(12_000, 3).double()], dim=2)
    origin = torch.cat([active.double(), torch.zeros(3, 1)], dim=1)
    theta = made.clone().requires_grad_()
    t = (inputs * theta).sum(dim=2)
    loss = (softplus(t) - one_hot(y, 3) * t).sum() + (theta - origin).square().sum() / (2 * (width or 10.0) ** 2)
    (gradient,) = torch.autograd.grad(loss, theta)
    free = torch.cat([active, torch.ones(3, 1, dtype=torch.bool)], dim=1)
    assert float(gradient[free].abs().max()) < 1e-4 and bool((made[~free] == 0).all())
    assert made.shape == (3, slopes + 1) and made.dtype == torch.float64 and bool(made.isfinite().all())


def test_classes_that_are_told_apart_without_error_get_slopes_as_wide_as_their_prior() -> None:
    z, y = torch.tensor([[4.0, 0.0], [0.0, 4.0]] * 20).double(), torch.tensor([0, 1] * 20)
    rows = Rows(z, y, torch.ones(2, dtype=torch.bool))
    made = {width: float(binary_newton(rows, slopes=1, width=width)[0, 0]) for width in (1.0, 10.0, 100.0)}
    for width, slope in made.items():  # where the prior's pull equals the loss's: 40 x 4 / (1 + e^(4 slope))
        assert (slope - 1) / width**2 == pytest.approx(160 / (1 + math.exp(4 * slope)), rel=1e-6)
    assert float(binary_newton(rows, slopes=1)[0, 0]) == pytest.approx(made[10.0], rel=1e-9)
