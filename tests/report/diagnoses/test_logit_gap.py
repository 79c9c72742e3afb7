"""Logit gap: absent classes that are only outvoted are found, and what would bring them back."""

from dataclasses import replace

import pytest

from reclaim.report.diagnoses.logit_gap import logit_gap
from tests import toys

BEFORE = toys.snapshot(n=600, sunk=0.0)


def test_sinking_the_absent_logits_is_found_and_nothing_else_is_needed_to_repair_it() -> None:
    found = logit_gap(BEFORE, toys.snapshot(n=600, sunk=4.0))
    assert found.damaged and found.value > 0.5
    assert found.evidence["best_offset"] == pytest.approx(4.0, abs=1.0)
    assert found.evidence["accuracy_at_best_offset"] > found.evidence["accuracy"] + 0.2


def test_raising_them_is_no_damage_to_them() -> None:
    assert not logit_gap(BEFORE, toys.snapshot(n=600, sunk=-4.0)).damaged


def test_without_absent_rows_it_looks_at_the_margin() -> None:
    before, after = BEFORE.seen_rows(), toys.snapshot(n=600, sunk=4.0).seen_rows()
    found = logit_gap(before, after)
    assert found.damaged and found.value == pytest.approx(4.0, abs=1e-5)
    assert not logit_gap(before, replace(before, logits=before.logits - 1)).damaged
