"""Retention budget against a slow loop that answers every row with every offset, on few rows with many ties."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from math import ceil, e, floor, inf

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.retention_budget import retention_budget, rows_needed
from reclaim.core.errors import BadInput
from reclaim.snapshots.snapshot import Snapshot

SEEN = np.array([True, False, True, True, False])


@dataclass(frozen=True)
class Tried:
    """What one offset does: the rows, or shares of groups, that are lost and gained."""

    lost: Fraction
    gained: Fraction


def answers(rows: Snapshot, offset: float) -> np.ndarray:
    """Whether each row is answered right with an offset."""
    return (rows.logits.numpy() + offset * ~SEEN).argmax(axis=1) == rows.labels.numpy()


def tried(given: Evidence, offset: float) -> Tried:
    now, then = answers(given.seen, offset), answers(given.reference or given.seen, 0.0)
    groups = list(range(len(now))) if given.seen.groups is None else given.seen.groups.tolist()
    size = Counter(groups)
    lost, gained = Counter(np.array(groups)[then & ~now].tolist()), Counter(np.array(groups)[now & ~then].tolist())
    return Tried(*(sum((Fraction(c[group], size[group]) for group in c), Fraction(0)) for c in (lost, gained)))


@cache
def end(count: int, n: int, risk: float, side: str) -> float:
    """One end of the exact interval of a share of which `count` of n were seen."""
    found = binomtest(count, n, alternative=side).proportion_ci(1 - risk, method="exact")
    return float(found.high if side == "less" else found.low)


def risk_of(given: Evidence, confidence: float) -> float:
    """Of one bound: half where there are two, and e times less for groups."""
    risk = 1 - confidence
    if given.reference is not None:
        risk /= 2
    return risk if given.seen.groups is None else risk / e


def kept(given: Evidence, found: Tried, n: int, budget: float, confidence: float | None) -> bool:
    """Whether what an offset does keeps the promise."""
    if confidence is None:
        return (found.lost - found.gained + 1) / (n + 1) <= Fraction(str(budget))
    risk = risk_of(given, confidence)
    return end(ceil(found.lost), n, risk, "less") - end(floor(found.gained), n, risk, "greater") <= budget


def expected(given: Evidence, budget: float, confidence: float | None) -> Selection:
    """The selection by its definition, but for the sentences."""
    rows = given.seen
    n = len(rows) if rows.groups is None else len(set(rows.groups.tolist()))
    logits, labels = rows.logits.numpy(), rows.labels.numpy()
    best = [logits[:, group].max(axis=1) for group in (SEEN, ~SEEN)]
    margin, hit = best[0] - best[1], logits[range(len(rows)), labels] == best[0]
    least = margin.min() - 1 if given.least == -inf else given.least
    edges = [least, *sorted({value for value in margin[hit].tolist() if value > least})]
    inside = [(a + b) / 2 for a, b in zip(edges, [*edges[1:], edges[-1] + 2], strict=True)]
    numbers = {"budget": budget, "confidence": confidence}
    broken = next((at for at, x in enumerate(inside) if not kept(given, tried(given, x), n, budget, confidence)), None)
    if broken == 0:
        return Selection(least, "", {"seen": len(rows)}, None, numbers)
    offset = edges[-1] + 1
    if broken is not None:
        narrow = (edges[-1] - edges[0]) / 10_000
        wide = [edge for edge in edges if edge < edges[broken] - narrow] or [least]
        offset = (wide[-1] + edges[broken]) / 2
    found = tried(given, offset)
    promise = "in expectation" if confidence is None else f"with probability {confidence}"
    once = "" if rows.groups is None else " groups, each counted once"
    return Selection(
        offset=offset,
        reason="",
        evidence={"seen": len(rows)},
        guarantee=f"seen accuracy falls by at most {budget} {promise}, n = {n}{once}",
        details=numbers | {"held_out_loss": pytest.approx(float((found.lost - found.gained) / n), abs=1e-9)},
    )


def coarse(n: int, random: np.random.Generator, jitter: float) -> Snapshot:
    """Seen rows whose logits are multiples of a quarter, no two of a row equal, so that many margins are."""
    labels = random.choice(SEEN.nonzero()[0], n)
    logits = np.round(4 * (random.normal(0, 1, (n, 5)) + 2 * np.eye(5)[labels] - 2.0 * ~SEEN)) / 4
    logits += np.arange(5) / 64 + jitter * random.integers(0, 3, (n, 1)) * SEEN
    return Snapshot(torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(SEEN))


def cases(count: int) -> Iterator[tuple[Evidence, float, float | None]]:
    """Every mixture of groups, a reference (better, worse), a confidence and a least offset."""
    random = np.random.default_rng(7)
    for number in range(count):
        n = int(random.integers(8, 45))
        rows = coarse(n, random, jitter=1e-6 * (number % 3 == 0))
        if number % 2:
            rows = replace(rows, groups=torch.from_numpy(random.integers(0, n * 2 // 3, n)))
        noise = torch.from_numpy(np.round(random.normal(0, 3, (n, 5)) * 64) / 64 + 0.0039 * np.arange(5))
        other = rows.logits + 3 * torch.eye(5)[rows.labels] if number // 2 % 2 else rows.logits + noise
        reference = replace(rows, logits=other) if number // 4 % 2 else None
        least = [0.0, 0.0, -inf, 0.7][number // 8 % 4]
        confidence = [None, None, 0.5, 0.8][number // 32 % 4]
        budget = float(random.choice([0.05, 0.1, 0.2, 0.25, 0.4, 0.5, 0.9]))
        yield Evidence(seen=rows, reference=reference, least=least), budget, confidence


def test_every_field_is_that_of_the_loop_over_all_offsets() -> None:
    outcomes = {"refused": 0, "nothing": 0, "everything": 0, "certified": 0}
    for given, budget, confidence in cases(192):
        n = given.seen.units
        needed = 1
        while not kept(given, Tried(Fraction(0), Fraction(0)), needed, budget, confidence):
            needed += 1
        assert rows_needed(given, budget, confidence) == needed
        units = "rows" if given.seen.groups is None else "groups of rows"
        if n < needed:
            outcomes["refused"] += 1
            with pytest.raises(BadInput, match=f"^{n} held-out {units} .* a budget of {budget}; {needed} are needed"):
                retention_budget(given, budget=budget, confidence=confidence)
            continue
        wanted, found = (
            expected(given, budget, confidence),
            retention_budget(given, budget=budget, confidence=confidence),
        )
        assert replace(found, reason="", offset=wanted.offset) == wanted, (given, budget, confidence)
        assert found.offset == pytest.approx(wanted.offset, abs=1e-12)
        if wanted.guarantee is None:
            outcomes["nothing"] += 1
            without = "without an offset" if given.least == 0 else "with absent classes below all others"
            assert found.reason == f"even {without} the {n} held-out {units} do not certify a loss of at most {budget}"
            continue
        outcomes["everything" if not answers(given.seen, found.offset).any() else "certified"] += 1
        loss = f"{found.details['held_out_loss']:.3f} of {n} held-out {units} are lost"
        assert found.reason == f"it is the largest offset that spends a budget of {budget}: {loss}"
    assert min(outcomes.values()) >= 5, outcomes


def by_margins(margins: list[float]) -> Snapshot:
    """Rows of a seen class, each right, with these margins."""
    margin = torch.tensor(margins, dtype=torch.float64)
    logits = torch.stack([margin, 0 * margin, margin - 50, margin - 50, margin - 50], dim=1)
    return Snapshot(logits, torch.zeros(len(margins), dtype=torch.int64), torch.from_numpy(SEEN))


@pytest.mark.parametrize("first", [1e-5, 9e-4, 1.1e-3, 0.3])
def test_a_first_step_of_any_width_is_left_in_its_middle(first: float) -> None:
    """19 rows may lose none at a budget of .05, so the first one that is lost ends the only step."""
    rows = by_margins([first, *(5 + number / 4 for number in range(17)), 10.0])
    assert retention_budget(Evidence(seen=rows)).offset == pytest.approx(first / 2, rel=1e-9)


def test_a_budget_that_a_millionth_of_a_row_would_break_is_broken() -> None:
    rows = by_margins([float(number) for number in range(1, 40)])  # 2 of 40 are 0.05, with one row lost
    spent, saved = (retention_budget(Evidence(seen=rows), budget=budget).offset for budget in (0.05, 0.05 - 1e-8))
    assert (spent, saved) == (1.5, 0.5)


def test_a_budget_smaller_than_rounding_asks_for_more_rows_than_there_are() -> None:
    rows = Evidence(seen=by_margins([1.0, 2.0]))
    assert rows_needed(rows, 1e-17, 0.95) == pytest.approx(3e17, rel=0.01)
    assert rows_needed(rows, 1e-17) == pytest.approx(1e17)
