"""All choices of a repair, from answers alone: what is asked for, what is certified, what comes out."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from reclaim.calibration.class_shifts import class_balance
from reclaim.repairs.alpha import WEIGHTS
from reclaim.repairs.plan import CERTIFIED_BY, choose
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

BEFORE = toys.snapshot(1200, sunk=0.0)
SEEN = BEFORE.seen


def after(rows: Snapshot) -> Snapshot:
    """Sharper on seen rows, absent logits sunk and torn."""
    own = 3.0 * torch.nn.functional.one_hot(rows.labels, 7) * SEEN[rows.labels][:, None]
    noise = torch.randn(rows.logits.shape, generator=torch.Generator().manual_seed(len(rows)))
    return replace(rows, logits=rows.logits + own - 6.0 * ~SEEN + noise)


class World:
    """Answers of mixtures, and a record of what was asked."""

    def __init__(self, rows: Snapshot = BEFORE) -> None:
        seen = rows.seen_rows()
        third = len(seen) // 3
        self.parts = {"mix": seen.rows(slice(third)), "offset": seen.rows(slice(third, 2 * third))}
        self.parts["rest"] = seen.rows(slice(2 * third, None))
        self.parts |= {"unlabelled": rows, "labelled": rows.rows(slice(40)), "source": rows}
        self.ends = {name: (part, after(part)) for name, part in self.parts.items()}
        self.asked: Counter[str] = Counter()

    def __call__(self, weight: float, part: str) -> Snapshot:
        self.asked[part] += 1
        first, last = self.ends[part]
        mixed = replace(first, logits=torch.lerp(first.logits, last.logits, weight))
        return mixed.unlabelled() if part == "unlabelled" else mixed


def right(rows: Snapshot) -> float:
    return float((rows.logits.argmax(dim=1) == rows.labels).double().mean())


def test_only_held_out_rows_are_asked_for_unless_more_is_given() -> None:
    world = World()
    choose(world)
    assert set(world.asked) == {"mix", "offset"}
    choose(world, extra=("unlabelled",))
    assert "unlabelled" in world.asked and not {"labelled", "source"} & set(world.asked)


def test_the_offset_is_certified_with_the_shifts_on_rows_that_chose_neither() -> None:
    world = World()
    chosen = choose(world)
    assert chosen.offset.guarantee and any(chosen.offset.shifts)
    shifts = class_balance(world(chosen.mix.weight, "mix"))
    torch.testing.assert_close(torch.tensor(chosen.offset.shifts), shifts)
    kept = right(world(chosen.mix.weight, "offset").through(chosen.offset))
    assert kept >= right(world(1.0, "offset")) - 0.05
    moved = replace(world.parts["offset"], logits=world.parts["offset"].logits - 2 * ~SEEN)
    world.ends["offset"] = moved, after(moved)
    other = choose(world)
    assert other.mix == chosen.mix and other.offset.shifts == chosen.offset.shifts
    assert other.offset.offset != pytest.approx(chosen.offset.offset, abs=0.5)


def test_without_apart_nothing_is_certified() -> None:
    world = World()
    assert choose(world, apart=False).offset.guarantee is None
    given = choose(world, mix=0.5, apart=False).offset
    assert given.guarantee is None and "the same rows chose the shifts" in given.reason
    assert choose(world, mix=0.5, balance=0, apart=False).offset.guarantee  # nothing but the offset was chosen


def test_balance_nought_shifts_nothing() -> None:
    assert choose(World(), balance=0).offset.shifts == ()


def test_a_preference_takes_the_best_selector_for_the_evidence() -> None:
    world = World()
    for extra, name in (((), "bolder"), (("unlabelled",), "rate-matching"), (("labelled", "unlabelled"), "labelled")):
        assert choose(world, prefer="balanced", extra=extra).offset.selector == name
    assert choose(world, prefer="balanced", extra=("source",), select="source-data").offset.selector == "source-data"


def test_more_evidence_is_shifted_too_before_it_chooses() -> None:
    world = World()
    chosen = choose(world, prefer="balanced", extra=("unlabelled",))
    share = chosen.offset(world(chosen.mix.weight, "unlabelled").logits).argmax(dim=1)
    assert float((~SEEN[share]).double().mean()) == pytest.approx(3 / 7, abs=0.01)


def test_of_very_many_rows_a_part_certifies() -> None:
    rows = toys.snapshot(3 * CERTIFIED_BY, sunk=0.0).seen_rows()
    seen = after(rows)
    chosen = choose(lambda weight, part: seen if weight else rows, mix=1.0)
    n = chosen.offset.evidence["seen"]
    assert CERTIFIED_BY / 2 <= n <= CERTIFIED_BY and f"n = {n}" in str(chosen.offset.guarantee)
    assert right(seen.through(chosen.offset)) >= right(seen) - 0.055


def test_every_weight_is_tried_and_the_answers_are_those_of_the_choice() -> None:
    chosen = choose(World())
    assert [tried.weight for tried in chosen.mix.tried] == list(WEIGHTS)
