"""The alpha of a mixture, every number of it: by hand, by brute force, and by the documented defaults."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.auto import auto
from reclaim.calibration.selectors.larger_of_two import larger_of_two
from reclaim.repairs.alpha import ChosenAlpha, Tried, best, choose_alpha, score, seen_share
from reclaim.repairs.rows import MoreEvidence
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.repairs.test_alpha import BEFORE, SEEN, Given, answers, chosen_of

ENDS = {0.0: BEFORE, 1.0: answers(2.0, 6.0, torn=4.0)}


def tried(alpha: float, seen: float, absent: float) -> Tried:
    return Tried(alpha, 0.0, seen, absent, 0.5, True)


def first_seen(*shown: int, of: int) -> Snapshot:
    return Snapshot(torch.zeros(1, of), torch.tensor([shown[0]]), torch.tensor([i in shown for i in range(of)]))


# --- the criterion


def test_the_share_of_seen_classes_counts_a_preferred_group_twice() -> None:
    rows = first_seen(0, 1, 2, of=4)  # three of four
    assert seen_share(rows) == seen_share(rows, "balanced") == 3 / 4
    assert seen_share(rows, "seen") == pytest.approx(6 / 7) and seen_share(rows, "absent") == pytest.approx(3 / 5)


def test_the_score_of_a_mixture_by_hand() -> None:
    assert score(tried(0.5, 0.8, 0.6), 0.3, 0.2) == pytest.approx(0.3 * 0.8 + 0.7 * 0.6 - 0.2 * 0.04)
    assert score(tried(0.1, 0.4, 0.25), 0.3, 0.2) == pytest.approx(0.12 + 0.175 - 0.008)


@pytest.mark.parametrize("more", [1e-7, 1e-4])
def test_a_better_mixture_is_taken_however_little_it_is_better(more: float) -> None:
    near, far = tried(0.5, 0.8, 0.6), tried(1.0, 0.8 + more, 0.6 + more)
    assert best([near, far], 0.5, 0.0) == best([far, near], 0.5, 0.0) == far


def test_of_equals_the_nearest_to_the_share_is_taken_and_of_two_as_near_the_larger() -> None:
    alike = [tried(alpha, 0.8, 0.6) for alpha in (0.0, 0.1, 0.4, 0.6, 1.0)]
    for given in (alike, alike[::-1]):
        assert best(given, 0.5, 0.0).alpha == 0.6
        assert best(given, 0.12, 0.0).alpha == 0.1 and best(given, 0.9, 0.0).alpha == 1.0
    rounded = [tried(0.1, 0.8, 0.6), tried(0.3, 0.8 - 1e-12, 0.6)]
    assert best(rounded, 0.2, 0.0).alpha == best(rounded[::-1], 0.2, 0.0).alpha == 0.3  # 0.3 - 0.2 > 0.2 - 0.1


# --- the defaults


def test_without_arguments_it_is_what_the_documentation_says() -> None:
    eleven = tuple(step / 10 for step in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    given = Given({"held": {alpha: answers(2 * alpha, 6 * alpha, torn=4 * alpha) for alpha in eleven}})
    plain = choose_alpha(given, "held")
    assert [t.alpha for t in plain.tried] == list(eleven)
    ends = {"before": given.answers(0.0, "held"), "reference": given.answers(1.0, "held")}
    said = choose_alpha(
        given, "held", MoreEvidence(), **ends, budget=0.05, prefer="balanced", pull=0.1, alphas=eleven, least=0.0
    )
    assert plain == said
    others: Mapping = {"budget": 0.3, "prefer": "absent", "pull": 3.0, "alphas": (0.2, 0.4)}
    for name, value in others.items():
        assert choose_alpha(given, "held", **{name: value}).reason != plain.reason, name
    other = replace(BEFORE, logits=BEFORE.logits + 2.0 * SEEN)
    assert choose_alpha(given, "held", before=other).tried != plain.tried
    assert choose_alpha(given, "held", reference=answers(9.0, 0.0)).tried != plain.tried


def test_a_choice_that_looked_at_nothing_is_empty() -> None:
    chosen = ChosenAlpha(0.4, "as given")
    assert (chosen.tried, chosen.rows, chosen.estimated, chosen.groups, chosen.taken) == ((), 0, True, None, None)
    assert chosen.preferences == {}
    looked = replace(chosen, tried=(tried(0.2, 1, 1), tried(0.4, 0.5, 0.5)))
    assert looked.taken == looked.tried[1]


# --- what is said of the choice


def test_the_reason_tells_every_number() -> None:
    chosen = chosen_of(ENDS, budget=None)
    taken = chosen.taken
    assert taken is not None and chosen.reason == (
        f"with an offset of {taken.offset:.2f} it keeps {taken.seen:.1%} of {len(BEFORE)} held-out seen rows right, "
        f"and by estimate {taken.absent:.1%} of absent ones, the best of 2 mixtures, each less 0.1 times its squared "
        "distance from 0.57"
    )
    within = chosen_of(ENDS, budget=0.2, prefer="absent", pull=0.0).reason
    assert within.endswith(", the best of 2 mixtures within a budget of 0.2 where absent classes count twice")
    rows = toys.snapshot(90, seed=4, sunk=0.0)
    known = chosen_of(ENDS, more={"labelled": {0.0: rows, 1.0: rows}}, pull=0.0)
    taken = known.taken
    assert taken is not None and known.reason == (
        f"with an offset of {taken.offset:.2f} it keeps {taken.seen:.1%} of seen and {taken.absent:.1%} of absent rows "
        "right, of 90 labelled ones, the best of 2 mixtures within a budget of 0.05"
    )


def test_groups_of_the_rows_that_chose_are_counted() -> None:
    grouped = {a: replace(rows, groups=torch.arange(len(rows)) // 3) for a, rows in ENDS.items()}
    count = -(-len(BEFORE) // 3)
    chosen = chosen_of(grouped, grouped[0.0])
    assert (chosen.rows, chosen.groups) == (len(BEFORE), count) and chosen_of(ENDS).groups is None
    rows = toys.snapshot(90, seed=4, sunk=0.0)
    known = chosen_of(grouped, grouped[0.0], more={"labelled": dict.fromkeys(ENDS, rows)})
    assert (known.rows, known.groups) == (90, None)
    known = chosen_of(ENDS, more={"labelled": dict.fromkeys(ENDS, replace(rows, groups=torch.arange(90) // 9))})
    assert (known.rows, known.groups, known.estimated) == (90, 10, False)


def test_if_no_mixture_keeps_the_budget_it_is_the_fine_tuned_model_and_says_so() -> None:
    better = answers(5.0, 0.0)
    for groups, count in ((None, None), (torch.arange(len(BEFORE)) // 2, len(BEFORE) // 2 + len(BEFORE) % 2)):
        rows = replace(BEFORE, groups=groups)
        chosen = chosen_of({0.0: rows, 0.5: rows}, rows, reference=replace(better, groups=groups), budget=0.1)
        assert chosen.alpha == 1.0 and chosen.taken is None and len(chosen.tried) == 2 and chosen.estimated
        assert chosen.reason == f"no mixture keeps the budget of 0.1 on {len(BEFORE)} held-out rows"
        assert (chosen.rows, chosen.groups) == (len(BEFORE), count) and len(chosen.preferences) == 3


def test_two_seen_classes_that_the_pretrained_model_knows_are_enough() -> None:
    names = tuple("abcdefg")
    three = torch.tensor([True, False, True, False, True, False, False])

    def of(seen: torch.Tensor, lacks: tuple[str, ...] = ()) -> ChosenAlpha:
        rows = replace(BEFORE, classes=names, seen=seen).seen_rows()
        after = replace(rows, logits=rows.logits - 4.0 * ~seen)
        return chosen_of({0.0: rows, 1.0: after}, replace(rows, lacks=lacks), budget=None)

    two = three & torch.tensor([True] * 4 + [False] * 3)
    assert len(of(two).tried) == len(of(three).tried) == len(of(three, lacks=("c",)).tried) == 2
    for none in (of(two, lacks=("c",)), of(three, lacks=("a", "c"))):
        assert none == ChosenAlpha(1.0, "with one seen class there is nothing to imitate absent ones by")


# --- the offsets


def test_offsets_within_the_budget_are_those_of_auto_and_without_one_the_best() -> None:
    for budget in (0.05, 0.2):
        for mixture in chosen_of(ENDS, budget=budget).tried:
            given = Evidence(ENDS[mixture.alpha], BEFORE, ENDS[1.0])
            assert mixture.offset == auto(given, budget=budget).offset
    for mixture in chosen_of(ENDS, budget=None).tried:
        assert mixture.offset == larger_of_two(Evidence(ENDS[mixture.alpha], BEFORE, ENDS[1.0])).offset


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("units", "certifies"), [(18, False), (19, True)])
def test_from_as_many_rows_as_a_certificate_needs_the_budget_limits(units: int, certifies: bool, size: int) -> None:
    """1 / 0.05 - 1 rows are needed, or groups of rows."""
    some = slice(units * size)
    few = {a: rows.rows(some) for a, rows in ENDS.items()}
    if size > 1:
        few = {a: replace(rows, groups=torch.arange(len(rows)) // size) for a, rows in few.items()}
    chosen = chosen_of(few, few[0.0], budget=0.05)
    free = chosen_of(few, few[0.0], budget=None)
    assert free.tried[1].offset > 0.5 and all(t.allowed for t in free.tried)
    assert (chosen.tried[1].offset < free.tried[1].offset) == certifies


def test_the_least_offset_reaches_the_choice() -> None:
    risen = {a: replace(rows, logits=rows.logits + 3.0 * ~SEEN) for a, rows in {0.0: BEFORE, 1.0: BEFORE}.items()}
    for least, expected in ((0.0, 0.0), (-1.0, -1.0)):
        assert [t.offset for t in chosen_of(risen, least=least).tried] == [expected] * 2
    assert all(t.offset < -1.1 for t in chosen_of(risen, least=float("-inf")).tried)


def test_rows_of_the_pretraining_domain_choose_no_alpha() -> None:
    """They are not asked for, for each would be answered by every mixture."""
    evidence = MoreEvidence(source="source")
    chosen = choose_alpha(Given({"held": ENDS}), "held", evidence, before=BEFORE, alphas=tuple(ENDS))
    assert chosen == chosen_of(ENDS)
