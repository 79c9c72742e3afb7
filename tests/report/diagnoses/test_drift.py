"""Drift: which layers moved."""

from dataclasses import replace

import pytest

from reclaim.report.diagnoses.drift import drift
from tests import toys
from tests.toys import copied

THETA = toys.classifier().weights
ROWS = replace(toys.snapshot(), weights=THETA)


def test_the_layer_that_moved_is_named_with_its_distance() -> None:
    moved = copied(THETA)
    moved["first.weight"] *= 1.5
    moved["first.bias"] *= 1.5
    found = drift(ROWS, replace(ROWS, weights=moved))
    assert found.evidence["layer first"] == pytest.approx(0.5)
    assert found.evidence["unmoved"] == 2 and "first (50.0%)" in found.verdict


def test_running_statistics_do_not_count() -> None:
    moved = copied(THETA)
    moved["norm.running_mean"] += 100
    assert drift(ROWS, replace(ROWS, weights=moved)).value == 0.0


def test_two_architectures_are_not_compared() -> None:
    other = copied(THETA)
    del other["first.bias"]
    found = drift(ROWS, replace(ROWS, weights=other))
    assert found.value is None and "not the same architecture" in found.verdict


def test_a_head_for_other_classes_is_left_out_and_named() -> None:
    moved = copied(THETA)
    moved["first.weight"] *= 1.5
    moved["first.bias"] *= 1.5
    own = {name: tensor[:3] if name.startswith("head.") else tensor for name, tensor in moved.items()}
    found = drift(ROWS, replace(ROWS, weights=own))
    assert found.evidence["layer first"] == pytest.approx(0.5) and found.evidence["layers"] == 2
    assert found.verdict.endswith("Left out, for it answers other classes: head.")
    wider = {name: tensor[:, :2] if name == "first.weight" else tensor for name, tensor in moved.items()}
    assert "not the same architecture" in drift(ROWS, replace(ROWS, weights=wider)).verdict
