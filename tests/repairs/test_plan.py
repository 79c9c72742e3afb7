"""All choices of a repair, from answers alone: what is asked for, what is certified, what comes out."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from reclaim.calibration.class_shifts import class_shifts
from reclaim.repairs.alpha import ALPHAS
from reclaim.repairs.choices import Choices
from reclaim.repairs.plan import CERTIFIED_BY, Plan, plan
from reclaim.repairs.rows import MoreEvidence, Rows
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

BEFORE = toys.snapshot(1200, sunk=0.0)
SEEN = BEFORE.seen


def after(rows: Snapshot) -> Snapshot:
    """Sharper on seen rows, absent logits sunk and torn."""
    own = 3.0 * torch.nn.functional.one_hot(rows.labels, 7) * SEEN[rows.labels][:, None]
    noise = torch.randn(rows.logits.shape, generator=torch.Generator().manual_seed(len(rows)))
    return replace(rows, logits=rows.logits + own - 6.0 * ~SEEN + noise)


SEPARATE = Rows("held_out", "mix", "offset", "rest")
TOGETHER = Rows("held_out", "mix", "mix", "rest")


class World:
    """Mixtures whose rows are named, and a record of what was asked."""

    def __init__(self, rows: Snapshot = BEFORE) -> None:
        seen = rows.seen_rows()
        third = len(seen) // 3
        self.parts = {"mix": seen.rows(slice(third)), "offset": seen.rows(slice(third, 2 * third))}
        self.parts["rest"] = seen.rows(slice(2 * third, None))
        self.parts |= {"unlabelled": rows, "labelled": rows.rows(slice(40)), "source": rows}
        self.ends = {name: (part, after(part)) for name, part in self.parts.items()}
        self.asked: Counter[str] = Counter()

    def answers(self, alpha: float, rows: str) -> Snapshot:
        self.asked[rows] += 1
        first, last = self.ends[rows]
        return replace(first, logits=torch.lerp(first.logits, last.logits, alpha))


def of(world: World, *more: str, rows: Rows[str] = SEPARATE, **choices) -> Plan:
    """The plan, with more evidence of these kinds."""
    return plan(world, rows, Choices(**choices), MoreEvidence(**{kind: kind for kind in more}))


def right(rows: Snapshot) -> float:
    return float((rows.logits.argmax(dim=1) == rows.labels).double().mean())


def test_only_held_out_rows_are_asked_for_unless_more_is_given() -> None:
    world = World()
    of(world)
    assert set(world.asked) == {"mix", "offset"}
    of(world, "unlabelled")
    assert "unlabelled" in world.asked and not {"labelled", "source"} & set(world.asked)


def test_the_offset_is_certified_with_the_shifts_on_rows_that_chose_neither() -> None:
    world = World()
    chosen = of(world)
    assert chosen.offset.guarantee and any(chosen.offset.shifts)
    shifts = class_shifts(world.answers(chosen.alpha, "mix"))
    torch.testing.assert_close(torch.tensor(chosen.offset.shifts), shifts)
    kept = right(world.answers(chosen.alpha, "offset").through(chosen.offset))
    assert kept >= right(world.answers(1.0, "offset")) - 0.05
    moved = replace(world.parts["offset"], logits=world.parts["offset"].logits - 2 * ~SEEN)
    world.ends["offset"] = moved, after(moved)
    other = of(world)
    assert other.mix == chosen.mix and other.offset.shifts == chosen.offset.shifts
    assert other.offset.offset != pytest.approx(chosen.offset.offset, abs=0.5)


def test_without_separate_rows_nothing_is_certified() -> None:
    world = World()
    assert of(world, rows=TOGETHER).offset.guarantee is None
    given = of(world, mix=0.5, rows=TOGETHER).offset
    assert given.guarantee is None and "the same rows chose the shifts" in given.reason
    assert of(world, mix=0.5, class_shifts=0, rows=TOGETHER).offset.guarantee  # nothing but the offset was chosen


def test_class_shifts_of_nought_shift_nothing() -> None:
    assert of(World(), class_shifts=0).offset.shifts == ()


def test_a_preference_takes_the_best_selector_for_the_evidence() -> None:
    world = World()
    best = {(): "larger-of-two", ("unlabelled",): "rate-matching", ("labelled", "unlabelled"): "labelled"}
    for more, name in best.items():
        assert of(world, *more, prefer="balanced").offset.selector == name
    assert of(world, "source", prefer="balanced", select="source-data").offset.selector == "source-data"


def test_more_evidence_is_shifted_too_before_it_chooses() -> None:
    world = World()
    chosen = of(world, "unlabelled", prefer="balanced")
    share = chosen.offset(world.answers(chosen.alpha, "unlabelled").logits).argmax(dim=1)
    assert float((~SEEN[share]).double().mean()) == pytest.approx(3 / 7, abs=0.01)


def test_of_very_many_rows_a_part_certifies() -> None:
    rows = toys.snapshot(3 * CERTIFIED_BY, sunk=0.0).seen_rows()
    seen = after(rows)
    world = World(rows)
    world.ends |= dict.fromkeys(("mix", "offset"), (rows, seen))
    chosen = of(world, mix=1.0)
    n = chosen.offset.evidence["seen"]
    assert CERTIFIED_BY / 2 <= n <= CERTIFIED_BY and f"n = {n}" in str(chosen.offset.guarantee)
    assert right(seen.through(chosen.offset)) >= right(seen) - 0.055


def test_every_alpha_is_tried() -> None:
    assert [tried.alpha for tried in of(World()).mix.tried] == list(ALPHAS)


def test_if_no_offset_keeps_the_budget_at_the_mixture_it_falls_back_to_the_fine_tuned_model() -> None:
    class Torn(World):
        """Every mixture but the fine-tuned model is wrong on the rows that certify."""

        def answers(self, alpha: float, rows: str) -> Snapshot:
            made = super().answers(alpha, rows)
            return made if alpha == 1 or rows != "offset" else replace(made, logits=-made.logits)

    chosen = of(Torn(), numbers={"budget": 0.02})
    assert 0 < of(World(), numbers={"budget": 0.02}).alpha < 1
    assert chosen.alpha == 1.0 and "back to the fine-tuned model" in chosen.mix.reason
    assert chosen.offset.guarantee is None and chosen.offset.shifts == ()


def test_labels_of_unlabelled_rows_are_not_read() -> None:
    world, other = World(), World()
    other.ends["unlabelled"] = tuple(replace(rows, labels=0 * rows.labels) for rows in world.ends["unlabelled"])
    assert of(other, "unlabelled") == of(world, "unlabelled")
