"""Class-wise calibration: a loop over classes and bins, and identities."""

import numpy as np
import pytest
import torch

from reclaim.core.arrays import row_blocks
from reclaim.snapshots.metrics.brier import brier_parts
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.classwise import classwise_binned, classwise_brier_parts, classwise_ece, classwise_ece_of
from reclaim.snapshots.metrics.confidence import confidence
from tests import toys


@pytest.mark.parametrize("threshold", [0.0, 1 / 7, 0.5])
@pytest.mark.parametrize("bins", [1, 4, 15])
def test_it_is_the_mean_over_classes_of_a_binary_error(threshold: float, bins: int) -> None:
    z, y, _ = toys.logits()
    p, errors = z.softmax(1), []
    for c in range(7):
        kept = p[:, c] > threshold
        if kept.any():
            errors.append(ece(p[kept, c], (y[kept] == c).double(), bins=bins))
    assert classwise_ece(z, y, bins=bins, threshold=threshold) == pytest.approx(np.mean(errors), abs=1e-7)


def test_resampled_rows_equal_those_rows() -> None:
    z, y, _ = toys.logits()
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, len(z), len(z)))
    assert classwise_ece_of(classwise_binned(z, y, rows=rows)) == pytest.approx(classwise_ece(z[rows], y[rows]))


def test_renaming_the_classes_changes_nothing() -> None:
    z, y, _ = toys.logits()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert classwise_ece(z[:, order], order.argsort()[y]) == pytest.approx(classwise_ece(z, y), abs=1e-7)


def test_the_parts_add_up_to_the_brier_score() -> None:
    z, y, _ = toys.logits()
    parts = classwise_brier_parts(z, y)
    whole = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert whole == pytest.approx(confidence(z, y).brier, abs=1e-12)
    p = z.double().softmax(1)
    each = [brier_parts(p[:, c], (y == c).double()) for c in range(7)]
    for name in ("reliability", "resolution", "uncertainty", "within"):
        assert getattr(parts, name) == pytest.approx(sum(getattr(part, name) for part in each), abs=1e-6)


def test_blocks_do_not_show() -> None:
    """Every row twenty times over, in three blocks, says what the rows say in one."""
    z, y, _ = toys.logits(n=101, c=1000)
    assert len(list(row_blocks(z))) == 1 and len(list(row_blocks(z.repeat(20, 1)))) == 3
    assert classwise_ece(z.repeat(20, 1), y.repeat(20)) == pytest.approx(classwise_ece(z, y), abs=1e-7)


def test_nothing_above_the_threshold_is_none() -> None:
    z, y, _ = toys.logits()
    assert classwise_ece(0 * z, y, threshold=0.5) is None
    assert classwise_ece(z[:0], y[:0]) is None
