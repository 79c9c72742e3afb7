"""Confidence: closed forms, an independent implementation, and reference numbers on real outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from reclaim.snapshots.metrics.confidence import confidence, ece
from tests import toys


def test_likelihood_and_brier_equal_their_definitions() -> None:
    z, y, _ = toys.logits()
    found = confidence(z, y)
    assert found.nll == pytest.approx(float(cross_entropy(z, y)), rel=1e-6)
    assert found.brier == pytest.approx(float((z.softmax(1) - one_hot(y, 7)).square().sum(1).mean()), rel=1e-5)


def test_calibration_error_equals_a_loop_over_bins() -> None:
    z, y, _ = toys.logits(n=500)
    p = z.softmax(1).numpy()
    top, right = p.max(1), p.argmax(1) == y.numpy()
    expected = 0.0
    for low, high in zip(np.arange(15) / 15, np.arange(1, 16) / 15, strict=True):
        inside = (top > low) & (top <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    assert confidence(z, y).ece == pytest.approx(expected, abs=1e-6)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    top, right = torch.tensor([0.2, 0.2, 0.21], dtype=torch.float64), torch.tensor([1.0, 0.0, 0.0])
    assert ece(top, right, bins=5) == pytest.approx(2 / 3 * 0.3 + 1 / 3 * 0.21)


def test_certain_and_right_is_perfect() -> None:
    found = confidence(torch.tensor([[100.0, 0.0], [0.0, 100.0]]), torch.tensor([0, 1]))
    assert (found.nll, found.brier, found.ece) == pytest.approx((0.0, 0.0, 0.0))


@pytest.mark.real
@pytest.mark.parametrize(
    ("outputs", "expected"),
    [("wrn16_4_c10", 0.0537), ("lenet5_c10", 0.1079), ("wrn16_4_c100", 0.0581), ("lenet5_c100", 0.0149)],
)
def test_the_calibration_error_of_recorded_networks_is_that_of_other_libraries(
    real_data: Path, outputs: str, expected: float
) -> None:
    """Origin: the table in the data's own notes, on which netcal and uncertainty-calibration agree."""
    with np.load(real_data / "logits" / "cifar_softmax_netcal.npz") as file:
        p, y = file[f"{outputs}_probs"], file[f"{outputs}_labels"].astype(np.int64)
    assert confidence(np.log(np.maximum(p, 1e-30)), y).ece == pytest.approx(expected, abs=5e-5)
