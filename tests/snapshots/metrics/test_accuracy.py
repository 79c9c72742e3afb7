"""Accuracy by group: worked examples and identities."""

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput, BadKind
from reclaim.snapshots.metrics.accuracy import accuracy, wilson_interval
from tests import toys


def test_a_case_worked_by_hand() -> None:
    z = torch.tensor([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [5.0, 4.0, 1.0], [2.0, 0.0, 3.0]])
    y = torch.tensor([0, 1, 1, 0])  # class 0 and 2 are seen, class 1 is absent and alone
    found = accuracy(z, y, torch.tensor([True, False, True]))
    assert (found.all, found.seen, found.absent) == (0.25, 0.5, 0.0)
    assert (found.seen_among_seen, found.absent_among_absent) == (0.5, 1.0)
    assert found.harmonic == 0.0


def test_all_rows_are_the_weighted_mean_of_both_groups() -> None:
    z, y, seen = toys.logits()
    found, share = accuracy(z, y, seen), float(seen[y].double().mean())
    assert found.all == pytest.approx(share * found.seen + (1 - share) * found.absent, abs=1e-12)


def test_being_right_over_all_classes_implies_being_right_in_the_group() -> None:
    z, y, seen = toys.logits()
    found = accuracy(z, y, seen)
    assert found.seen_among_seen >= found.seen
    assert found.absent_among_absent > found.absent


def test_no_offset_changes_the_accuracy_among_a_group() -> None:
    z, y, seen = toys.logits()
    plain, lifted = accuracy(z, y, seen), accuracy(z + 2.5 * ~seen, y, seen)
    assert (plain.seen_among_seen, plain.absent_among_absent) == (lifted.seen_among_seen, lifted.absent_among_absent)
    assert plain.absent < lifted.absent


def test_arrays_of_either_kind_give_the_same() -> None:
    z, y, seen = toys.logits()
    assert accuracy(z, y, seen) == accuracy(z.numpy(), y.numpy(), seen.numpy())


def test_what_cannot_be_measured_is_none() -> None:
    z, y, seen = toys.logits()
    only_seen = seen[y]
    found = accuracy(z[only_seen], y[only_seen], seen)
    assert found.absent is None and found.absent_among_absent is None and found.harmonic is None
    assert found.all == found.seen


def test_the_interval_equals_the_published_formula() -> None:
    assert wilson_interval(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    low, high = wilson_interval(1.0, 5)
    assert 0 < low < high <= 1 + 1e-12


def test_bad_input_is_refused_with_its_place() -> None:
    z, y, seen = toys.logits()
    z[17, 3] = torch.nan
    with pytest.raises(BadInput, match="row 17, column 3"):
        accuracy(z, y, seen)
    z[17, 3] = -torch.inf
    with pytest.raises(BadInput, match="-inf in row 17"):
        accuracy(z, y, seen)
    z[17, 3] = 3e38  # large but finite: a sum of such overflows, and that is no fault
    z[17, 4] = 3e38
    accuracy(z, y, seen)
    with pytest.raises(BadKind, match="whole numbers"):
        accuracy(z, y.float(), seen)
    with pytest.raises(BadInput, match="label 9 in row 2 is out of range"):
        accuracy(z, y.index_fill(0, torch.tensor([2]), 9), seen)
    with pytest.raises(BadInput, match="6 entries but the logits have 7 columns"):
        accuracy(z, y, seen[:6])
    with pytest.raises(BadKind, match="one bool per class"):
        accuracy(z, y, seen.long())
    with pytest.raises(BadKind, match="floating point"):
        accuracy(np.ones((3, 2), dtype=int), np.zeros(3, dtype=int), np.array([True, False]))
