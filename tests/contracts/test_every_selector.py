"""What every selector must do, whatever its method.

What differs is said by the method's own test file: with the evidence named in ``INSTEAD``, it reads no held-out rows.
"""

import importlib
from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import pytest
import torch

from reclaim.calibration.evidence import WHAT, Evidence, Selection
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

EVERY = pytest.mark.parametrize("name", names("selectors"))


def choose(name: str, evidence: Evidence) -> Selection:
    found: Selection = find("selectors", name)(evidence)
    return found


def each(given: Evidence, change: Callable[[Snapshot], Snapshot]) -> Evidence:
    """The evidence with every kind of it changed."""
    return Evidence(**{kind: change(given.given()[kind]) for kind in WHAT})


@EVERY
def test_it_gives_a_finite_offset_with_a_reason_and_what_it_read(name: str) -> None:
    chosen = choose(name, toys.evidence())
    assert isfinite(chosen.offset)
    assert len(chosen.reason) > 20
    assert chosen.evidence and set(chosen.evidence) <= set(WHAT)


@EVERY
def test_the_same_evidence_gives_the_same_offset(name: str) -> None:
    assert choose(name, toys.evidence()) == choose(name, toys.evidence())


@EVERY
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    given = toys.evidence()
    turned = each(given, lambda rows: rows.rows(torch.arange(len(rows)).flip(0)))
    assert choose(name, turned).offset == pytest.approx(choose(name, given).offset, abs=1e-6)


@EVERY
def test_the_order_of_classes_does_not_matter(name: str) -> None:
    given, order = toys.evidence(), torch.tensor([3, 0, 6, 2, 5, 1, 4])
    back = order.argsort()

    def turned(rows: Snapshot) -> Snapshot:
        labels = None if rows.labels is None else back[rows.labels]
        classes = tuple(rows.classes[i] for i in order)
        return replace(rows, logits=rows.logits[:, order], labels=labels, seen=rows.seen[order], classes=classes)

    assert choose(name, each(given, turned)).offset == pytest.approx(choose(name, given).offset, abs=1e-6)


@EVERY
def test_a_constant_on_all_logits_of_a_row_does_not_matter(name: str) -> None:
    given = toys.evidence()

    def moved(rows: Snapshot) -> Snapshot:
        shift = torch.randn(len(rows), 1, generator=torch.Generator().manual_seed(5)).double()
        return replace(rows, logits=rows.logits.double() + shift)

    assert choose(name, each(given, moved)).offset == pytest.approx(choose(name, given).offset, abs=1e-4)


@EVERY
def test_rows_of_absent_classes_reach_it_only_where_they_were_given_for_that(name: str) -> None:
    """Held-out rows of absent classes are replaced by nonsense; a selector that reads them would notice."""
    given = toys.evidence()
    own = importlib.import_module(f"tests.calibration.selectors.test_{name.replace('-', '_')}")
    instead = dict.fromkeys(vars(own).get("INSTEAD", ()))
    plain = choose(name, replace(given, **instead))
    rows, before = toys.snapshot(), toys.snapshot(sunk=0.0)
    absent = ~rows.seen[rows.labels]
    labels = torch.where(absent, 1, rows.labels)
    nonsense = torch.where(absent[:, None], 1e4 * torch.randn(len(rows), 7), rows.logits)
    poisoned = replace(given, seen=replace(rows, logits=nonsense, labels=labels), before=replace(before, labels=labels))
    assert choose(name, replace(poisoned, **instead)) == plain


@EVERY
def test_labels_of_unlabelled_rows_are_not_read(name: str) -> None:
    given = toys.evidence()
    assert given.unlabelled is not None and given.unlabelled.labels is None
    choose(name, given)


@EVERY
def test_without_the_evidence_it_needs_it_says_what_that_is(name: str) -> None:
    needed = choose(name, toys.evidence()).evidence
    useless = "unlabelled" if "before" in needed else "before"
    with pytest.raises(BadInput, match=f"{name!r} needs"):
        choose(name, Evidence(**{useless: toys.evidence().given()[useless]}))


@EVERY
def test_without_an_absent_class_it_refuses(name: str) -> None:
    with pytest.raises(BadInput, match="no class is absent"):
        every = toys.snapshot()
        Evidence(seen=replace(every, seen=torch.ones(7, dtype=torch.bool)))
    with pytest.raises(BadInput, match="no class is marked as seen"):
        Evidence(seen=replace(every, seen=torch.zeros(7, dtype=torch.bool)))


@EVERY
def test_rounding_moves_it_by_no_more_than_rounding(name: str) -> None:
    """Another device or batch size changes the last digits of every logit; no criterion may be decided by those."""
    given, random = toys.evidence(n=400), torch.Generator().manual_seed(0)
    plain = choose(name, given).offset
    for _ in range(3):
        noisy = each(given, lambda rows: replace(rows, logits=rows.logits * (1 + noise(rows, random))))
        assert choose(name, noisy).offset == pytest.approx(plain, abs=1e-3)


@EVERY
def test_rows_that_step_together_may_part_by_rounding(name: str) -> None:
    """On a coarse grid rows of both groups have the same margins, and noise sets each before or after the others."""

    def coarse(rows: Snapshot) -> Snapshot:
        own = torch.zeros_like(rows.logits) if rows.labels is None else torch.nn.functional.one_hot(rows.labels, 7)
        return replace(rows, logits=(2 * rows.logits).round() / 2 + own / 4)  # no row's own logit ties with another

    given, random = each(toys.evidence(n=400), coarse), torch.Generator().manual_seed(0)
    plain = choose(name, given).offset
    for _ in range(3):
        noisy = each(given, lambda rows: replace(rows, logits=rows.logits + noise(rows, random)))
        assert choose(name, noisy).offset == pytest.approx(plain, abs=1e-3)


def noise(rows: Snapshot, random: torch.Generator) -> torch.Tensor:
    """Of the size of rounding, 1e-6."""
    return 1e-6 * torch.randn(rows.logits.shape, generator=random)
