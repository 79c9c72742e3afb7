"""Labelled: no offset does better on the rows it was read from."""

import pytest

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.labelled import labelled
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.accuracy import accuracy
from tests import toys
from tests.calibration.shared import EVIDENCE, lowered


@pytest.mark.parametrize("criterion", ["overall", "balanced", "harmonic"])
def test_a_fine_grid_finds_nothing_better(criterion: str) -> None:
    rows = EVIDENCE.labelled

    def value(offset: float) -> float:
        found = accuracy(rows.logits + offset * ~rows.seen, rows.labels, rows.seen)
        return {"overall": found.all, "balanced": (found.seen + found.absent) / 2, "harmonic": found.harmonic}[
            criterion
        ]

    chosen = labelled(EVIDENCE, criterion=criterion)
    assert value(chosen.offset) == pytest.approx(chosen.details["ceiling"])
    assert max(value(step / 50) for step in range(-100, 500)) <= chosen.details["ceiling"] + 1e-12


def test_lowering_absent_logits_raises_it_by_as_much() -> None:
    assert labelled(lowered(EVIDENCE, 1.7)).offset == pytest.approx(labelled(EVIDENCE).offset + 1.7, abs=1e-6)


def test_rows_of_one_group_only_are_refused() -> None:
    with pytest.raises(BadInput, match="belongs to an absent class"):
        labelled(Evidence(labelled=toys.snapshot().seen_rows()))
