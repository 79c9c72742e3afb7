"""The snapshot: checked once, on construction."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput, BadKind
from reclaim.snapshots.snapshot import Snapshot, seen_mask
from tests import toys


def test_arrays_of_any_kind_become_tensors() -> None:
    z, y, seen = toys.logits()
    made = Snapshot(z.numpy(), y.numpy().astype(np.int16), seen.numpy())
    assert torch.equal(made.logits, z) and made.labels.dtype == torch.int64 and made.classes[6] == "6"


def test_bad_records_are_refused() -> None:
    rows = toys.snapshot()
    with pytest.raises(BadInput, match="given more than once: b"):
        replace(rows, classes=tuple("abbdefg"))
    with pytest.raises(BadInput, match="6 class names were given for 7 classes"):
        replace(rows, classes=tuple("abcdef"))
    with pytest.raises(BadInput, match=r"labels have shape \[210\]"):
        replace(rows, labels=rows.labels[:210])
    with pytest.raises(BadInput, match=r"features must be \[211, D\]"):
        replace(rows, features=torch.zeros(3, 4))
    with pytest.raises(BadInput, match=r"must be \[rows, classes\]"):
        Snapshot(torch.zeros(3), None, torch.zeros(3, dtype=torch.bool))
    with pytest.raises(BadKind, match="expected a NumPy array"):
        Snapshot("logits", None, rows.seen)


def test_rows_keep_everything_else() -> None:
    rows = replace(toys.snapshot(split="val", data="d"), features=torch.arange(211.0)[:, None])
    some = rows.rows(torch.tensor([4, 2]))
    assert some.labels.tolist() == rows.labels[[4, 2]].tolist() and some.features.tolist() == [[4.0], [2.0]]
    assert some.origin == "d:val" and len(some) == 2


def test_thinned_rows_are_evenly_spaced_views() -> None:
    rows = toys.snapshot()
    some = rows.thinned(100)
    assert torch.equal(some.labels, rows.labels[::3]) and len(some) == 71
    assert some.logits.data_ptr() == rows.logits.data_ptr() and rows.thinned(211) is rows


def test_derived_logits_are_not_read_again_and_new_ones_are() -> None:
    rows = toys.snapshot(split="val")
    bad = torch.full_like(rows.logits, torch.nan)
    derived = rows.with_logits(bad, split="part")  # what is said to be finite is believed
    assert derived.split == "part" and torch.equal(derived.labels, rows.labels)
    assert rows.with_logits(bad).split == "val"
    assert replace(derived, split="other").logits.isnan().all()
    with pytest.raises(BadInput, match="logits hold nan in row 0"):
        replace(rows, logits=bad)
    with pytest.raises(BadInput, match="logits hold nan in row 0"):
        replace(derived, logits=bad.clone())


def test_unlabelled_rows_have_no_known_labels() -> None:
    rows = toys.snapshot()
    assert torch.equal(rows.known_labels, rows.labels)
    with pytest.raises(BadInput, match="these rows have no labels"):
        len(rows.unlabelled().known_labels)


def test_seen_rows_are_those_with_a_seen_label() -> None:
    rows = toys.snapshot()
    assert bool(rows.seen[rows.seen_rows().labels].all())
    assert len(rows.seen_rows()) == int(rows.seen[rows.labels].sum())


def test_classes_in_another_order_are_the_same_answers() -> None:
    rows = Snapshot(torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.tensor([0, 2]), torch.tensor([True, False, True]),
                    torch.tensor([[7.0], [8]]), classes=tuple("abc"), split="val")  # fmt: skip
    made = rows.reordered("cab")
    assert made.logits.tolist() == [[3, 1, 2], [6, 4, 5]] and made.classes == ("c", "a", "b")
    assert made.labels.tolist() == [1, 0] and made.seen.tolist() == [True, True, False]
    assert torch.equal(made.features, rows.features) and made.split == "val"
    assert rows.reordered(["a", "b", "c"]) is rows
    assert rows.unlabelled().reordered("cab").labels is None


def test_reordering_there_and_back_is_nothing() -> None:
    rows = toys.snapshot(classes=tuple("abcdefg"))
    back = rows.reordered("gbeadfc").reordered("abcdefg")
    for name in ("logits", "labels", "seen"):
        assert torch.equal(getattr(back, name), getattr(rows, name))


def test_an_order_of_other_classes_is_refused() -> None:
    rows = toys.snapshot(classes=tuple("abcdefg"))
    with pytest.raises(BadInput, match="only one has: g\n  only the other has: h"):
        rows.reordered("abcdefh")
    with pytest.raises(BadInput, match="only the other has: none"):
        rows.reordered("abcdef")
    with pytest.raises(BadInput, match="given more than once: a"):
        rows.reordered("abcdefga")


def test_a_mask_from_indices() -> None:
    assert seen_mask([0, 2], 4).tolist() == [True, False, True, False]
    with pytest.raises(BadInput, match="from 0 to 3"):
        seen_mask([4], 4)
    with pytest.raises(BadInput, match="a mask of 0 and 1 must be bool"):
        seen_mask([1, 1, 0, 0], 4)
