"""Retention budget: the largest offset that keeps the promise, and that the promise holds."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import beta, binom

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.retention_budget import retention_budget
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.snapshot import Snapshot
from tests import toys


def lost(rows: Snapshot, offset: float) -> int:
    """Rows that were right and are no longer, with equal logits counted as lost."""
    m = margins(rows.logits, rows.labels, rows.seen)
    return int((m.right & (m.margin <= offset)).sum())


def next_step(rows: Snapshot, offset: float) -> float:
    """The next offset at which another row is lost."""
    m = margins(rows.logits, rows.labels, rows.seen)
    return float(m.margin[m.right & (m.margin > offset)].min())


@pytest.mark.parametrize("budget", [0.02, 0.05, 0.1, 0.3])
def test_it_is_the_last_step_that_the_rule_allows(budget: float) -> None:
    rows = toys.snapshot(n=400).seen_rows()
    n = len(rows)
    offset = retention_budget(Evidence(seen=rows), budget=budget).offset
    assert (lost(rows, offset) + 1) / (n + 1) <= budget
    assert (lost(rows, next_step(rows, offset)) + 1) / (n + 1) > budget


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_with_a_confidence_it_is_the_last_offset_whose_test_rejects(confidence: float) -> None:
    rows = toys.snapshot(n=900).seen_rows()
    n = len(rows)
    offset = retention_budget(Evidence(seen=rows), budget=0.05, confidence=confidence).offset
    assert binom.cdf(lost(rows, offset), n, 0.05) <= 1 - confidence
    assert binom.cdf(lost(rows, next_step(rows, offset)), n, 0.05) > 1 - confidence


def resampled(rounds: int, n: int, sunk: float = 3.0):
    """Held-out sets of n seen rows drawn from a large pool, and the pool."""
    pool = toys.snapshot(n=40_000, seed=11, sunk=sunk).seen_rows()
    random = torch.Generator().manual_seed(3)
    for _ in range(rounds):
        yield pool.rows(torch.randint(0, len(pool), (n,), generator=random)), pool


def realised(pool: Snapshot, offset: float) -> float:
    before = accuracy(pool.logits, pool.labels, pool.seen).seen
    return before - accuracy(pool.logits + offset * ~pool.seen, pool.labels, pool.seen).seen


@pytest.mark.parametrize("budget", [0.03, 0.1])
def test_over_many_held_out_sets_the_mean_loss_is_within_the_budget(budget: float) -> None:
    chosen = [(pool, retention_budget(Evidence(seen=rows), budget=budget)) for rows, pool in resampled(200, 101)]
    losses = torch.tensor([realised(pool, selection.offset) for pool, selection in chosen])
    standard_error = float(losses.std()) / 200**0.5
    assert float(losses.mean()) <= budget + 2 * standard_error
    assert float(losses.mean()) >= budget / 2  # and it is spent, not saved


def test_with_a_confidence_few_held_out_sets_break_the_budget() -> None:
    broken = sum(
        realised(pool, retention_budget(Evidence(seen=rows), budget=0.1, confidence=0.9).offset) > 0.1
        for rows, pool in resampled(200, 101)
    )
    assert broken <= 0.1 * 200 + 2 * (200 * 0.1 * 0.9) ** 0.5


@pytest.mark.parametrize(("budget", "confidence", "needed"), [(0.01, None, 99), (0.05, None, 19), (0.05, 0.95, 59)])
def test_too_few_rows_are_refused_with_the_number_needed(budget: float, confidence: float | None, needed: int) -> None:
    rows = toys.snapshot(n=300).seen_rows()
    with pytest.raises(BadInput, match=f"{needed} are needed"):
        retention_budget(Evidence(seen=rows.rows(torch.arange(needed - 1))), budget=budget, confidence=confidence)
    enough = Evidence(seen=rows.rows(torch.arange(needed)))
    assert retention_budget(enough, budget=budget, confidence=confidence).guarantee


def test_a_budget_for_everything_ends_beyond_the_last_margin() -> None:
    rows = toys.snapshot(n=300).seen_rows()
    chosen = retention_budget(Evidence(seen=rows), budget=0.999)
    assert accuracy(rows.logits + chosen.offset * ~rows.seen, rows.labels, rows.seen).seen == 0.0


def test_the_loss_is_counted_against_the_reference() -> None:
    rows = toys.snapshot(n=400).seen_rows()
    better = replace(rows, logits=rows.logits + 2 * torch.nn.functional.one_hot(rows.labels, 7))
    alone, against_better = Evidence(seen=rows), Evidence(seen=rows, reference=better)
    assert retention_budget(against_better, budget=0.2).offset < retention_budget(alone, budget=0.2).offset
    assert (
        retention_budget(Evidence(seen=rows, reference=rows), budget=0.2).offset
        == retention_budget(alone, budget=0.2).offset
    )


def test_a_model_that_already_lost_more_than_the_budget_gets_no_offset_and_no_guarantee() -> None:
    rows = toys.snapshot(n=400).seen_rows()
    perfect = replace(rows, logits=rows.logits + 20 * torch.nn.functional.one_hot(rows.labels, 7))
    chosen = retention_budget(Evidence(seen=rows, reference=perfect), budget=0.01)
    assert chosen.offset == 0.0 and chosen.guarantee is None


@pytest.mark.parametrize("numbers", [{"budget": 0.0}, {"budget": 1.0}, {"budget": 0.1, "confidence": 1.5}])
def test_impossible_numbers_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        retention_budget(Evidence(seen=toys.snapshot()), **numbers)


@pytest.mark.parametrize(
    "carried_by", [("before",), ("reference",), ("seen", "before"), ("seen", "reference")], ids=str
)
def test_the_certificate_is_the_same_whichever_snapshot_has_the_groups(carried_by: tuple[str, ...]) -> None:
    rows = toys.snapshot(n=1200)
    kinds = dict.fromkeys(("seen", "before", "reference"), rows)
    grouped = replace(rows, groups=torch.arange(1200) // 2)
    expected = retention_budget(Evidence(**kinds | {"seen": grouped}))
    found = retention_budget(Evidence(**kinds | dict.fromkeys(carried_by, grouped)))
    assert found == expected and found.guarantee != retention_budget(Evidence(**kinds)).guarantee
    with pytest.raises(BadInput, match="into other groups"):
        Evidence(seen=grouped, before=replace(rows, groups=torch.arange(1200) // 3))


def most_lost(given: Evidence, offset: float, confidence: float | None) -> float:
    """What the loss is at most with an offset, from each row's answer and both bounds of Clopper and Pearson."""
    rows, reference = given.seen, given.reference or given.seen
    lifted = (rows.logits.double() + offset * ~rows.seen).argmax(dim=1) == rows.labels
    right = reference.logits.argmax(dim=1) == reference.labels
    n, lost, gained = len(rows), int((right & ~lifted).sum()), int((~right & lifted).sum())
    if confidence is None:
        return (lost - gained + 1) / (n + 1)
    risk = (1 - confidence) / (1 if given.reference is None else 2)
    return beta.ppf(1 - risk, lost + 1, n - lost) - (beta.ppf(risk, gained, n - gained + 1) if gained else 0.0)


@pytest.mark.parametrize("confidence", [None, 0.7, 0.95])
@pytest.mark.parametrize("referred", [False, True])
@pytest.mark.parametrize("budget", [0.1, 0.2])
def test_it_is_the_largest_offset_whose_bound_holds(budget: float, referred: bool, confidence: float | None) -> None:
    rows = toys.snapshot(n=400, seed=5).seen_rows()
    other = rows.through(lambda z: z + 0.5 * (7 * z).sin())
    given = Evidence(seen=rows, reference=other if referred else None)
    chosen = retention_budget(given, budget=budget, confidence=confidence)
    m = margins(rows.logits, rows.labels, rows.seen)
    edges = m.margin[m.hit].sort().values
    above, below = edges[edges > chosen.offset], edges[(edges < chosen.offset) & (edges > 0)]
    narrow = 1e-3 * (edges[-1] - edges[0])  # steps that rounding makes are none
    beyond = float(above[above > above[0] + narrow][0]) + 1e-6
    assert most_lost(given, chosen.offset, confidence) <= budget < most_lost(given, beyond, confidence)
    assert all(most_lost(given, float(edge) + 1e-6, confidence) <= budget for edge in below[-20:])
    assert (chosen.details["budget"], chosen.details["confidence"]) == (budget, confidence)
