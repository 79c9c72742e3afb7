"""Maps of probabilities start at the best temperature: near it where it is true, at it where rows tell no more."""

from typing import Any

import pytest
import torch
from torch import Tensor

from reclaim.calibration.calibrators.temperature import Temperature
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
