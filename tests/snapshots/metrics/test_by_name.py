"""Metrics by name: each the function it names, each with its estimator and interval."""

from pathlib import Path

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.by_name import NAMES, estimate, estimates
from reclaim.snapshots.metrics.classwise import classwise_ece
from reclaim.snapshots.metrics.confidence import confidence
from tests import toys


def test_the_three_of_an_evaluation_are_the_same_here() -> None:
    z, y, _ = toys.logits()
    found, three = {e.name: e.value for e in estimates(z, y)}, confidence(z, y)
    assert (found["nll"], found["brier"], found["ece"]) == pytest.approx((three.nll, three.brier, three.ece), abs=1e-12)
    assert found["ece-class-wise"] == pytest.approx(classwise_ece(z, y))


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_names_its_estimator_and_gives_an_interval_on_request(name: str) -> None:
    z, y, _ = toys.logits()
    plain, with_interval = estimate(name, z, y), estimate(name, z.numpy(), y.numpy(), resamples=30)
    assert plain.interval is None and plain.estimator and plain.n == 211
    assert plain.value == with_interval.value
    low, high = with_interval.interval
    assert low < high
    assert with_interval == estimate(name, z, y, resamples=30)


def test_the_estimators_differ() -> None:
    z, y, _ = toys.logits()
    assert len({e.estimator for e in estimates(z, y)}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_neither_the_order_of_rows_nor_the_names_of_classes_nor_a_constant_per_row_matters(name: str) -> None:
    z, y, _ = toys.logits()
    z, random = z.double(), np.random.default_rng(0)
    plain = estimate(name, z, y).value
    rows, columns = torch.from_numpy(random.permutation(211)), torch.from_numpy(random.permutation(7))
    assert estimate(name, z[rows], y[rows]).value == pytest.approx(plain, abs=1e-9)
    assert estimate(name, z[:, columns], columns.argsort()[y]).value == pytest.approx(plain, abs=1e-9)
    assert estimate(name, z + torch.from_numpy(random.normal(size=(211, 1))), y).value == pytest.approx(plain, abs=1e-9)


def test_what_cannot_be_measured_is_none() -> None:
    z, y, _ = toys.logits()
    assert all(e.value is None and e.interval is None for e in estimates(z[:0], y[:0], resamples=30))
    assert estimate("mce", z[:5], y[:5], resamples=30).value is None


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    z, y, _ = toys.logits()
    with pytest.raises(BadInput, match=r"no confidence metric called 'ecce'.*smooth-ece"):
        estimate("ecce", z, y)


@pytest.mark.real
@pytest.mark.parametrize("outputs", ["wrn16_4_c10", "lenet5_c10", "wrn16_4_c100", "lenet5_c100"])
def test_on_recorded_networks_the_estimators_agree_where_they_should(real_data: Path, outputs: str) -> None:
    with np.load(real_data / "logits" / "cifar_softmax_netcal.npz") as file:
        p, y = file[f"{outputs}_probs"], file[f"{outputs}_labels"].astype(np.int64)
    found = {e.name: e.value for e in estimates(np.log(np.maximum(p, 1e-30)), y)}
    gap = abs(float((p.max(1) - (p.argmax(1) == y)).mean()))
    for name in ("ece", "ece-equal-mass", "ks"):
        assert found[name] >= gap - 1e-6  # the overall gap is a lower bound
    assert found["ece-equal-mass"] == pytest.approx(found["ece"], abs=0.003)
    assert found["ece-debiased-l1"] == pytest.approx(found["ece"], abs=0.004)
    assert found["smooth-ece"] == pytest.approx(found["ece"], abs=0.015)
    assert found["ece-debiased-l2"] >= found["ece"] - 0.004
    assert found["mce"] > found["ece"]
