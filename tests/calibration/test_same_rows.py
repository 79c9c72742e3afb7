"""Two snapshots of the same rows: what is known of their rows must agree, for rows have no names."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.same_rows import check_same_rows
from reclaim.core.errors import BadInput
from reclaim.repairs.mixtures import aligned
from reclaim.report.diagnose import diagnose
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

ROWS = replace(toys.snapshot(40), split="val", data="photos")
DOORS = [
    lambda before, after: check_same_rows(before, after, "the two"),
    diagnose,
    aligned,
    lambda before, after: Evidence(seen=after, before=before),
]


@pytest.mark.parametrize("door", DOORS, ids=["check", "diagnose", "aligned", "evidence"])
def test_rows_of_two_splits_are_not_paired_though_they_are_as_many_of_every_class(
    door: Callable[[Snapshot, Snapshot], object], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BadInput, match=r"different splits \((val and test|test and val)\)(.|\n)*the same split"):
        door(replace(ROWS, split="test"), ROWS)
    with caplog.at_level(logging.WARNING):
        for split in ("validation", "Val", ""):
            door(replace(ROWS, split=split), ROWS)
        assert not caplog.messages
        door(replace(ROWS, data="./photos"), ROWS)
    assert "two names, whose rows are taken for the same: ./photos, photos" in caplog.text


def test_other_rows_are_refused() -> None:
    fewer, shuffled = ROWS.rows(slice(0, 39)), ROWS.rows(torch.arange(39, -1, -1))
    for other in (fewer, fewer.unlabelled(), shuffled):
        with pytest.raises(BadInput, match=rf"different rows \({len(other)} and 40\)"):
            check_same_rows(other, ROWS, "the two")
    check_same_rows(shuffled.unlabelled(), ROWS, "the two")  # nothing is known that differs
