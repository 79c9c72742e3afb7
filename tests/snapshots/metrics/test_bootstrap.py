"""The basic interval: closed forms, coverage, repeatability."""

import numpy as np
import pytest
import torch
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.bootstrap import basic_interval
from reclaim.snapshots.metrics.calibration_error import ece
from tests.snapshots.metrics.test_calibration_error import pairs


def test_of_a_mean_it_is_about_two_standard_errors() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(5, 2, 400))
    low, high = basic_interval(lambda rows: float(x[rows].mean()), 400, resamples=2000)
    error = float(x.std()) / 20
    assert low == pytest.approx(float(x.mean()) - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(float(x.mean()) + 1.96 * error, abs=0.15 * error)


def test_copies_within_groups_leave_the_interval_of_a_mean_as_it_is() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(5, 2, 60))
    alone = basic_interval(lambda rows: float(x[rows].mean()), 60)
    copied, groups = x.repeat_interleave(5), torch.arange(60).repeat_interleave(5)
    assert basic_interval(lambda rows: float(copied[rows].mean()), 300, groups=groups) == pytest.approx(alone)
    low, high = basic_interval(lambda rows: float(copied[rows].mean()), 300)
    assert high - low < 0.6 * (alone[1] - alone[0])


def test_it_is_the_mirror_image_of_the_quantiles() -> None:
    random, x = np.random.default_rng(3), torch.rand(50, generator=torch.Generator().manual_seed(0))
    drawn = [float(x[torch.from_numpy(random.integers(0, 50, 50))].max()) for _ in range(100)]
    low, high = basic_interval(lambda rows: float(x[rows].max()), 50, level=0.8, seed=3)
    assert low == pytest.approx(2 * float(x.max()) - np.quantile(drawn, 0.9))
    assert high == pytest.approx(2 * float(x.max()) - np.quantile(drawn, 0.1))


def test_the_same_seed_gives_the_same_interval() -> None:
    p, hit = pairs(n=200)

    def statistic(rows: Tensor) -> float:
        return ece(p[rows], hit[rows])

    assert basic_interval(statistic, 200) == basic_interval(statistic, 200)
    assert basic_interval(statistic, 200) != basic_interval(statistic, 200, seed=1)


def test_of_a_biased_error_it_lies_below_the_estimate() -> None:
    for seed in range(5):
        p, hit = pairs(n=300, seed=seed)  # perfectly calibrated: the true error is 0, the plug-in far above
        low, high = basic_interval(lambda rows, p=p, hit=hit: ece(p[rows], hit[rows]), 300)
        assert (low + high) / 2 < ece(p, hit) - 0.005


@pytest.mark.parametrize(
    ("numbers", "words"), [({"resamples": 5}, "20 resamples"), ({"level": 1.0}, "between 0 and 1")]
)
def test_too_few_resamples_or_no_level_are_refused(numbers: dict[str, float], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        basic_interval(lambda rows: 0.0, 9, **numbers)  # type: ignore[arg-type]
