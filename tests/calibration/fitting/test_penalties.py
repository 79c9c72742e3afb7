"""Cross-validation of penalties: rows that belong together are on one side."""

import pytest
import torch

from reclaim.calibration.calibrators.order_preserving import OrderPreserving
from reclaim.calibration.calibrators.vector import Vector
from reclaim.calibration.fitting.penalties import folds
from reclaim.calibration.rows import calibration_rows
from reclaim.core.errors import BadInput
from reclaim.snapshots.snapshot import Snapshot
from tests import toys


def rows(groups: torch.Tensor | None, n: int = 200) -> Snapshot:
    z, y, _ = toys.logits(n=n, seed=3)
    return Snapshot(z, y, torch.ones(7, dtype=torch.bool), groups=groups)


def test_folds_hold_whole_groups() -> None:
    groups = torch.arange(200) % 23
    made = folds(calibration_rows(rows(groups)))
    assert len(made) == 5 and sum(len(held) for _, held in made) == 200
    for part, held in made:
        assert len(part) + len(held) == 200
        assert not set(part.groups.tolist()) & set(held.groups.tolist())


def test_copies_in_groups_choose_the_penalty_that_the_rows_alone_do_not() -> None:
    """Copies on both sides of a division would look like new rows that a free map fits."""
    few = rows(None, n=60)
    copies, groups = few.rows(torch.arange(60).repeat(8)), torch.arange(60).repeat(8)
    together = Snapshot(copies.logits, copies.labels, copies.seen, groups=groups)
    strength = {"apart": Vector.fit(copies), "together": Vector.fit(together), "few": Vector.fit(few)}
    found = {name: made.fitted.details["ridge"] for name, made in strength.items()}
    assert found["together"] >= found["apart"] and found["apart"] != found["together"]


def test_one_group_cannot_be_divided() -> None:
    one = rows(torch.zeros(200, dtype=torch.int64))
    with pytest.raises(BadInput, match="all rows are of one group"):
        Vector.fit(one)
    Vector.fit(one, ridge=0.1)
    told = OrderPreserving.fit(one).fitted.details  # no step can be judged, so it is the temperature
    assert told["nll"] == pytest.approx(told["nll_temperature"])
