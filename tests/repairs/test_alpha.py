"""How far to go back: the alpha of the mixture."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
import torch

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.pseudo_absent import estimated, pseudo_absent
from reclaim.repairs.alpha import ChosenAlpha, choose_alpha
from reclaim.repairs.rows import MoreEvidence
from reclaim.snapshots.metrics.tradeoff import accuracies_at
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

BEFORE = toys.snapshot(600, sunk=0.0).seen_rows()
SEEN = BEFORE.seen


@dataclass(frozen=True)
class Given:
    """Mixtures whose answers are given, by the name of the rows and alpha."""

    by_rows: Mapping[str, Mapping[float, Snapshot]]

    def answers(self, alpha: float, rows: str) -> Snapshot:
        return self.by_rows[rows][alpha]


def chosen_of(
    mixed: Mapping[float, Snapshot], before: Snapshot = BEFORE, more: Mapping[str, Mapping[float, Snapshot]] = {}, **how
) -> ChosenAlpha:
    """What is chosen of given mixtures, with `more` evidence."""
    evidence = MoreEvidence(**{kind: kind for kind in more})
    return choose_alpha(Given({"held": mixed, **more}), "held", evidence, before=before, alphas=tuple(mixed), **how)


def answers(right: float, sunk: float, torn: float = 0.0) -> Snapshot:
    """Sharper on the row's own class, absent logits lowered, and torn apart by noise."""
    own = torch.nn.functional.one_hot(BEFORE.labels, 7) * right
    noise = torn * torch.randn(BEFORE.logits.shape, generator=torch.Generator().manual_seed(1)) * ~SEEN
    return replace(BEFORE, logits=BEFORE.logits + own - sunk * ~SEEN + noise)


def test_it_takes_the_one_that_is_better_on_seen_rows_and_keeps_the_absent_columns() -> None:
    mixed = {0.0: BEFORE, 0.5: answers(1.5, 2.0), 1.0: answers(2.0, 6.0, torn=8.0)}
    chosen = chosen_of(mixed, budget=None)
    assert chosen.alpha == 0.5 and "the best of 3 mixtures" in chosen.reason
    tried = {t.alpha: t for t in chosen.tried}
    assert tried[0.5].absent > tried[1.0].absent + 0.1 and tried[0.5].seen > tried[0.0].seen
    share = float(SEEN.double().mean())
    assert tried[0.5].all == pytest.approx(share * tried[0.5].seen + (1 - share) * tried[0.5].absent)


def test_the_budget_leaves_out_what_falls_too_far_below_the_fine_tuned_model() -> None:
    mixed = {0.0: BEFORE, 1.0: answers(5.0, 12.0, torn=3.0)}
    assert chosen_of(mixed, budget=None).alpha == 0.0
    chosen = chosen_of(mixed, budget=0.05)
    assert chosen.alpha == 1.0 and not chosen.tried[0].allowed and "within a budget of 0.05" in chosen.reason


def test_counting_a_group_twice_moves_the_choice_towards_it() -> None:
    mixed = {0.0: BEFORE, 1.0: answers(3.0, 6.0, torn=1.3)}
    seen, absent = (chosen_of(mixed, budget=None, prefer=p) for p in ("seen", "absent"))
    assert seen.taken is not None and absent.taken is not None
    assert seen.taken.seen >= absent.taken.seen and absent.taken.absent >= seen.taken.absent
    assert (seen.alpha, absent.alpha) == (1.0, 0.0)


def test_an_offset_lost_in_the_scale_of_the_groups_does_not_matter() -> None:
    mixed = {0.0: BEFORE, 0.5: answers(1.5, 2.0), 1.0: answers(2.0, 6.0, torn=8.0)}
    sunk = {w: replace(rows, logits=rows.logits - 3.0 * w * ~SEEN) for w, rows in mixed.items()}
    here, there = (chosen_of(given, budget=None) for given in (mixed, sunk))
    assert there.alpha == here.alpha
    for a, b in zip(here.tried, there.tried, strict=True):
        assert b.offset == pytest.approx(a.offset + 3.0 * a.alpha, abs=1e-3) and b.all == pytest.approx(a.all, abs=0.01)


def test_with_one_seen_class_it_is_the_fine_tuned_model() -> None:
    one = torch.tensor([True] + [False] * 6)
    rows = Snapshot(BEFORE.logits[BEFORE.labels == 0], BEFORE.labels[BEFORE.labels == 0], one)
    assert chosen_of({0.0: rows, 1.0: rows}, rows).alpha == 1.0


def test_the_estimate_is_read_where_the_pretrained_model_is_at_its_best() -> None:
    tilted = replace(BEFORE, logits=BEFORE.logits + 2.0 * SEEN)  # seen classes stand higher from the start
    start = pseudo_absent(Evidence(seen=tilted, before=tilted)).details["start"]
    _, absent = accuracies_at(estimated(tilted, tilted), start)
    first = chosen_of({0.0: tilted, 1.0: tilted}, tilted, budget=None).tried[0]
    assert abs(start) > 0.1 and first.absent == absent
    assert absent != accuracies_at(estimated(tilted, tilted), -start)[1]


def test_a_pull_decides_between_mixtures_that_are_alike() -> None:
    same = dict.fromkeys((0.0, 0.3, 0.6, 1.0), BEFORE)
    share = float(SEEN.double().mean())  # 4 of 7
    assert chosen_of(same, budget=None).alpha == 0.6
    assert chosen_of(same, budget=None, pull=0).alpha == 0.6  # of equals the nearest to the share of seen classes
    twice = 2 * share / (2 * share + 1 - share)
    assert f"distance from {twice:.2f}" in chosen_of(same, budget=None, prefer="seen").reason


def test_the_pull_gives_way_to_what_the_rows_say() -> None:
    mixed = {0.0: BEFORE, 0.6: answers(0.0, 4.0, torn=8.0), 1.0: answers(5.0, 12.0, torn=8.0)}
    assert chosen_of(mixed, budget=None).alpha == 0.0


def test_target_rows_choose_offsets_and_their_labels_accuracies() -> None:
    rows = toys.snapshot(500, seed=4, sunk=0.0)
    sunk = replace(rows, logits=rows.logits - 9.0 * ~SEEN)
    mixed = {0.0: BEFORE, 1.0: answers(2.0, 6.0)}
    free = chosen_of(mixed, more={"unlabelled": {0.0: rows.unlabelled(), 1.0: sunk.unlabelled()}}, budget=None).tried
    assert free[1].offset - free[0].offset == pytest.approx(9.0, abs=1e-4)
    known = chosen_of(mixed, more={"labelled": {0.0: rows, 1.0: sunk}})
    for tried, given in zip(known.tried, (rows, sunk), strict=True):
        z = given.logits + tried.offset * ~SEEN
        hit = z.argmax(dim=1) == given.labels
        assert tried.allowed and tried.absent == pytest.approx(float(hit[~SEEN[given.labels]].double().mean()))


def test_the_budget_counts_against_the_reference() -> None:
    better = answers(5.0, 0.0)
    mixed = {0.0: BEFORE, 1.0: BEFORE}
    assert all(t.allowed for t in chosen_of(mixed).tried)
    assert not any(t.allowed for t in chosen_of(mixed, reference=better).tried)


def test_it_shows_what_preferences_would_take_without_the_budget() -> None:
    mixed = {0.0: BEFORE, 0.5: answers(1.0, 3.0, torn=0.8), 1.0: answers(3.0, 6.0, torn=1.3)}
    within = chosen_of(mixed, budget=0.2)
    assert within.taken in within.tried and set(within.preferences) == {"balanced", "seen", "absent"}
    for prefer, shown in within.preferences.items():
        taken = chosen_of(mixed, budget=None, prefer=prefer).taken
        assert taken is not None and shown == taken


def test_labelled_rows_measure_and_estimate_nothing() -> None:
    rows = toys.snapshot(500, seed=4, sunk=0.0)
    known = chosen_of({0.0: BEFORE, 1.0: BEFORE}, more={"labelled": {0.0: rows, 1.0: rows}})
    assert not known.estimated and known.rows == 500 and "500 labelled" in known.reason
    assert chosen_of({1.0: BEFORE}).estimated


def test_it_is_where_the_criterion_of_its_docstring_is_largest() -> None:
    mixed = {0.0: BEFORE, 0.3: answers(1.0, 2.0, torn=0.5), 0.7: answers(2.0, 4.0, torn=1.0), 1.0: answers(3.0, 6.0)}
    s, pull = 4 / 7, 0.3
    chosen = chosen_of(mixed, budget=None, pull=pull)
    scores = {t.alpha: s * t.seen + (1 - s) * t.absent - pull * (t.alpha - s) ** 2 for t in chosen.tried}
    assert chosen.alpha == max(scores, key=scores.__getitem__)
