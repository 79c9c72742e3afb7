"""A plan, step by step: the same choices, made in the test in the order that the documentation names."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.class_shifts import class_shifts
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.auto import without_budget
from reclaim.repairs.alpha import ChosenAlpha, choose_alpha
from reclaim.repairs.choices import Choices
from reclaim.repairs.plan import Ends, Plan, plan
from reclaim.repairs.rows import MoreEvidence
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.repairs.test_plan import SEEN, SEPARATE, TOGETHER, World, after

WORLD = World()


class Shifted:
    """The mixtures of the world with class shifts, as the documentation describes them."""

    def __init__(self, world: World, strength: float, more: tuple[str, ...]) -> None:
        self.world, self.strength, self.more = world, strength, more

    def shifts(self, alpha: float) -> torch.Tensor | None:
        if self.strength == 0:
            return None
        target = None
        if "labelled" in self.more:
            target = self.world.answers(alpha, "labelled")
        elif "unlabelled" in self.more:
            target = self.world.answers(alpha, "unlabelled").unlabelled()
        return class_shifts(self.world.answers(alpha, "mix"), target, strength=self.strength)

    def answers(self, alpha: float, rows: str) -> Snapshot:
        made, shifts = self.world.answers(alpha, rows), self.shifts(alpha)
        return made if shifts is None else replace(made, logits=made.logits + shifts)


def mix_of(shifted: Shifted, choices: Choices, more: tuple[str, ...], ends: Ends | None) -> ChosenAlpha:
    if choices.mix != "auto":
        return ChosenAlpha(choices.mix, "as given")
    return choose_alpha(
        shifted,
        "mix",
        MoreEvidence(**{kind: kind for kind in more}),
        before=ends.before("mix") if ends else shifted.world.answers(0.0, "mix"),
        reference=ends.after("mix") if ends else shifted.world.answers(1.0, "mix"),
        budget=choices.numbers.get("budget", 0.05) if choices.prefer is None else None,
        prefer="balanced" if choices.prefer is None else choices.prefer,
        least=ends.least if ends else 0.0,
    )


def offset_of(
    shifted: Shifted, alpha: float, choices: Choices, more: tuple[str, ...], ends: Ends | None, rows: str
) -> LogitOffset:
    world = shifted.world
    shifts = shifted.shifts(alpha)
    plainly_tuned = alpha == 1 and shifts is None and ends is None
    given = Evidence(
        seen=shifted.answers(alpha, rows),
        before=ends.before(rows) if ends else world.answers(0.0, rows),
        reference=None if plainly_tuned else ends.after(rows) if ends else world.answers(1.0, rows),
        least=ends.least if ends else 0.0,
        **{kind: shifted.answers(alpha, kind) for kind in more},
    )
    wish = choices.prefer is not None and choices.select == "auto"
    return LogitOffset.select(given, without_budget(given) if wish else choices.select, choices.numbers, shifts)


def of(world: World, choices: Choices, *more: str, ends: Ends | None = None, rows=SEPARATE) -> Plan:
    return plan(world, rows, choices, MoreEvidence(**{kind: kind for kind in more}), ends)


def ends_of(world: World, least: float = -2.0) -> Ends:
    """Two models that are not the ends of the mixtures: the one better, the other worse."""

    def start(rows: str) -> Snapshot:
        made = world.answers(0.0, rows)
        return replace(made, logits=made.logits + 0.8 * SEEN)

    def end(rows: str) -> Snapshot:
        made = world.answers(1.0, rows)
        return replace(made, logits=made.logits + 2.0 * torch.nn.functional.one_hot(made.labels, 7))

    return Ends(start, end, least)


@pytest.mark.parametrize("joined", [False, True], ids=["", "ends"])
@pytest.mark.parametrize(
    ("more", "choices"),
    [
        ((), {}),
        ((), {"class_shifts": 0.0}),
        ((), {"class_shifts": 0.9, "numbers": {"budget": 0.2}}),
        ((), {"prefer": "balanced"}),
        ((), {"prefer": "seen"}),
        ((), {"prefer": "absent", "class_shifts": 0.0}),
        ((), {"prefer": "balanced", "select": "gap-matching"}),
        ((), {"mix": 0.5}),
        ((), {"mix": 1.0}),
        ((), {"mix": 0.9, "class_shifts": 0.0}),
        ((), {"mix": 1.0, "class_shifts": 0.0, "numbers": {"budget": 0.2, "confidence": 0.9}}),
        ((), {"mix": 1.0, "select": "retention-budget", "numbers": {"budget": 0.3, "confidence": 0.9}}),
        (("unlabelled",), {"mix": 0.7}),
        (("unlabelled",), {}),
        (("labelled", "unlabelled"), {"mix": 0.7}),
        (("labelled",), {"prefer": "balanced"}),
        (("source",), {"mix": 0.7, "select": "source-data"}),
    ],
    ids=str,
)
def test_a_plan_is_what_its_documentation_says(more: tuple[str, ...], choices: dict, joined: bool) -> None:
    asked, ends = Choices(**choices), ends_of(WORLD) if joined else None
    shifted = Shifted(WORLD, asked.class_shifts, more)
    made = of(WORLD, asked, *more, ends=ends)
    mix = mix_of(shifted, asked, more, ends)
    assert made.mix == mix and made.alpha == mix.alpha
    assert made.offset == offset_of(shifted, mix.alpha, asked, more, ends, "offset")


def test_without_choices_they_are_the_defaults() -> None:
    assert plan(WORLD, SEPARATE) == of(WORLD, Choices())
    said = Choices(numbers={"budget": 0.05}, class_shifts=0.5, mix="auto", select="auto")
    assert of(WORLD, said) == of(WORLD, Choices()) != of(WORLD, Choices(numbers={"budget": 0.1}))
    start, end = (partial(WORLD.answers, alpha) for alpha in (0.0, 1.0))
    assert Ends(start, end) == Ends(start, end, 0.0)
    assert of(WORLD, Choices(), ends=Ends(start, end)) == of(WORLD, Choices())


# --- what is certified


SAME = "; not certified, because the same rows chose "


@pytest.mark.parametrize(
    ("choices", "joined", "why"),
    [
        ({}, False, "the mixture"),
        ({"class_shifts": 0.0}, True, "the mixture"),
        ({"mix": 0.5}, False, "the shifts of single classes"),
        ({"mix": 0.5}, True, "the shifts of single classes"),
        ({"mix": 0.5, "class_shifts": 0.0}, True, "the scale between the heads"),
        ({"mix": 0.5, "class_shifts": 0.0}, False, ""),
    ],
)
def test_the_same_rows_certify_nothing_that_they_chose(choices: dict, joined: bool, why: str) -> None:
    asked, ends = Choices(**choices), ends_of(WORLD) if joined else None
    made = of(WORLD, asked, ends=ends, rows=TOGETHER)
    plain = offset_of(Shifted(WORLD, asked.class_shifts, ()), made.alpha, asked, (), ends, "mix")
    assert plain.guarantee
    assert made.offset == (replace(plain, guarantee=None, reason=plain.reason + SAME + why) if why else plain)


class Torn(World):
    """Every mixture but the fine-tuned model is wrong on the rows that certify; with `all`, that one too."""

    def __init__(self, every: bool = False) -> None:
        super().__init__()
        self.every = every

    def answers(self, alpha: float, rows: str) -> Snapshot:
        made = super().answers(alpha, rows)
        return made if rows != "offset" or (alpha == 1 and not self.every) else replace(made, logits=-made.logits)


def fallen_back(world: World, asked: Choices, ends: Ends | None, rows=SEPARATE) -> None:
    """The plan is the fine-tuned model, unmixed and unshifted, with its own offset and without a promise."""
    sure = "mix" if rows is TOGETHER else "offset"
    shifted, plain = Shifted(world, asked.class_shifts, ()), Shifted(world, 0.0, ())
    first = mix_of(shifted, asked, (), ends)
    failed = offset_of(shifted, first.alpha, asked, (), ends, sure)
    again = offset_of(plain, 1.0, asked, (), ends, sure)
    reason = f"back to the fine-tuned model, because at {first.alpha:g} {failed.reason}"
    made = of(world, asked, ends=ends, rows=rows)
    assert failed.guarantee is None and made.mix == replace(first, alpha=1.0, reason=reason)
    extra = SAME + "the scale between the heads" if ends and rows is TOGETHER else ""
    why = f"{again.reason}{extra}; not certified, because a first mixture failed on the same rows"
    assert made.offset == replace(again, guarantee=None, reason=why)


@pytest.mark.parametrize("joined", [False, True], ids=["", "ends"])
@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize("more", [{}, {"prefer": "balanced", "select": "retention-budget"}], ids=str)
def test_what_fails_falls_back_to_the_fine_tuned_model(more: dict, strength: float, joined: bool) -> None:
    world = Torn()
    asked = Choices(class_shifts=strength, numbers={} if "prefer" in more else {"budget": 0.02}, **more)
    fallen_back(world, asked, ends_of(world) if joined else None)


class Far(World):
    """The fine-tuned model is better than any mixture, so that alpha is 1, and shifts ruin it where it certifies."""

    def answers(self, alpha: float, rows: str) -> Snapshot:
        made = super().answers(alpha, rows)
        if alpha < 1:
            return replace(made, logits=-made.logits)
        return made


def better(world: World) -> Ends:
    """A fine-tuned model that is right about every row, which no mixture is."""

    def end(rows: str) -> Snapshot:
        made = world.answers(1.0, rows)
        return replace(made, logits=99.0 * torch.nn.functional.one_hot(made.labels, 7))

    def same(rows: str) -> Snapshot:
        made = world.answers(1.0, rows)
        return made if rows == "mix" else end(rows)

    return Ends(partial(world.answers, 0.0), same, -2.0)


def test_at_the_fine_tuned_model_shifts_alone_may_fail() -> None:
    world = Far()
    world.ends["offset"] = tuple(replace(rows, logits=rows.logits * 0.3) for rows in world.ends["offset"])
    ends = better(world)
    shifted = of(world, Choices(class_shifts=0.5, numbers={"budget": 0.01}), ends=ends)
    assert shifted.mix.reason.startswith("back to the fine-tuned model, because at 1 ")
    fallen_back(world, Choices(class_shifts=0.5, numbers={"budget": 0.01}), ends)
    asked = Choices(class_shifts=0.0, numbers={"budget": 0.01})  # nothing is left to take back
    made = of(world, asked, ends=ends)
    assert made.alpha == 1 and not made.offset.guarantee and "back to" not in made.mix.reason
    assert made.offset == offset_of(Shifted(world, 0.0, ()), 1.0, asked, (), ends, "offset")
    assert made.mix == mix_of(Shifted(world, 0.0, ()), asked, (), ends)


def test_of_twenty_thousand_rows_every_second_one_certifies() -> None:
    rows = toys.snapshot(36_000, sunk=0.0).seen_rows().rows(slice(20_000))
    world = World()
    world.ends["offset"] = (rows, after(rows))
    for mix in (1.0, 0.5):
        assert of(world, Choices(mix=mix)).offset.evidence["seen"] == 10_000
    some = rows.rows(slice(16_384))
    world.ends["offset"] = (some, after(some))
    assert of(world, Choices(mix=1.0)).offset.evidence["seen"] == 16_384
