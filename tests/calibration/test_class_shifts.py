"""Shifts of single classes: what they make of mean probabilities, and where there are none."""

from dataclasses import replace

import pytest
import torch

from reclaim.calibration.class_shifts import class_shifts
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.accuracy import accuracy
from tests import toys

ROWS = toys.snapshot(600).seen_rows()
SEEN = ROWS.seen
TILT = torch.tensor([0.0, 0.0, 1.5, -1.0, 0.0, 1.0, -1.5])  # what a new domain does to each class


def within(z: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Mean probabilities inside a group."""
    return z[:, group].softmax(dim=1).mean(dim=0)


def tilted(rows=ROWS):
    """The same answers, some classes favoured."""
    return replace(rows, logits=rows.logits + TILT)


@pytest.mark.parametrize("target", [None, toys.snapshot(400).unlabelled(), toys.snapshot(400)])
def test_strength_nought_is_nothing_and_half_is_half_of_all(target) -> None:
    assert not class_shifts(tilted(), target, strength=0).any()
    whole, half = (class_shifts(tilted(), target, strength=s) for s in (1.0, 0.5))
    torch.testing.assert_close(2 * half, whole)
    assert float(whole.abs().max()) > 0.1


@pytest.mark.parametrize("target", [None, toys.snapshot(400).unlabelled()])
def test_neither_group_moves_on_the_whole(target) -> None:
    shifts = class_shifts(tilted(), target)
    for group in (SEEN, ~SEEN):
        assert float(shifts[group].mean()) == pytest.approx(0, abs=1e-6)


def test_favoured_classes_come_down_and_others_up_by_held_out_seen_rows_alone() -> None:
    shifts = class_shifts(tilted(), strength=1.0)
    assert bool((shifts.sign() == -TILT.sign())[TILT != 0].all())
    before, after = (within(z, ~SEEN) for z in (tilted().logits, tilted().logits + shifts))
    assert float(after.std()) < 0.5 * float(before.std())


def test_all_of_the_way_by_target_rows_makes_their_classes_equally_frequent() -> None:
    rows = toys.snapshot(3000, seed=5)
    target = replace(rows, logits=rows.logits + TILT)
    shifts = class_shifts(tilted(), target.unlabelled(), strength=1.0)
    for group in (SEEN, ~SEEN):
        lifted = target.logits + shifts + 3.0 * ~SEEN  # 3: what the toy sank the absent logits by
        share = lifted.softmax(dim=1).mean(dim=0)[group]
        torch.testing.assert_close(share / share.mean(), torch.ones(len(share)), atol=0.08, rtol=0)
    was, now = (accuracy(z + 3.0 * ~SEEN, rows.labels, SEEN).all for z in (target.logits, target.logits + shifts))
    assert now is not None and was is not None and now > was + 0.05


def test_labels_of_target_rows_say_how_frequent_classes_are_and_nothing_else_does() -> None:
    rows = toys.snapshot(3000, seed=5)
    rare = rows.rows((rows.labels != 1) | (torch.arange(3000) % 10 == 0))
    known, unknown = (class_shifts(tilted(), target, strength=1.0) for target in (rare, rare.unlabelled()))
    assert float(known[1]) < float(unknown[1]) - 0.3  # without labels the rare class is taken for a frequent one
    mixed_up = replace(rare, labels=rare.labels[torch.randperm(len(rare), generator=torch.Generator().manual_seed(0))])
    torch.testing.assert_close(class_shifts(tilted(), mixed_up, strength=1.0), known)  # counts only


def test_a_constant_on_either_group_changes_nothing() -> None:
    sunk = replace(ROWS, logits=ROWS.logits - 7.0 * ~SEEN)
    torch.testing.assert_close(class_shifts(sunk), class_shifts(ROWS), atol=1e-5, rtol=1e-5)
    target = toys.snapshot(400)
    deeper = replace(target, logits=target.logits - 7.0 * ~SEEN)
    for kind in (lambda rows: rows, lambda rows: rows.unlabelled()):
        torch.testing.assert_close(
            class_shifts(sunk, kind(deeper)), class_shifts(ROWS, kind(target)), atol=1e-4, rtol=1e-4
        )


def test_few_rows_say_little() -> None:
    few, many = (class_shifts(tilted(ROWS.rows(slice(n))), strength=1.0).abs().max() for n in (6, None))
    assert float(few) < float(many)


def test_with_one_seen_class_only_target_rows_can_say_anything() -> None:
    one = torch.arange(7) == 0
    rows = replace(ROWS.rows(ROWS.labels == 0), seen=one)
    assert not class_shifts(rows).any()
    assert class_shifts(rows, replace(toys.snapshot(400), seen=one).unlabelled()).any()


def test_a_strength_out_of_range_is_refused() -> None:
    with pytest.raises(BadInput, match=r"between 0 and 1; given: 1\.5"):
        class_shifts(ROWS, strength=1.5)
