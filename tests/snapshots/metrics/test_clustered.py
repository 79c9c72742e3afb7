"""Intervals that count groups: copies of a row within its group say nothing new."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclaim.report.evaluate import evaluate
from reclaim.snapshots.metrics.accuracy import wilson_interval
from reclaim.snapshots.metrics.clustered import area_error, effective_rows, width
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import area_of, steps_of
from reclaim.snapshots.snapshot import Snapshot
from tests import toys


def copies(snapshot: Snapshot, times: int, groups: torch.Tensor) -> Snapshot:
    """Every row several times, within its group."""
    return replace(
        snapshot.rows(torch.arange(len(snapshot)).repeat_interleave(times)), groups=groups.repeat_interleave(times)
    )


def test_a_row_per_group_changes_no_interval_of_an_accuracy() -> None:
    rows = toys.snapshot()
    alone, grouped = evaluate(rows).intervals, evaluate(replace(rows, groups=torch.arange(len(rows)))).intervals
    assert {name: grouped[name] for name in grouped if name != "area"} == {n: alone[n] for n in alone if n != "area"}
    assert grouped["area"] == pytest.approx(alone["area"], abs=2e-3)


@pytest.mark.parametrize("times", [2, 5])
def test_copies_within_a_group_narrow_nothing(times: int) -> None:
    rows, random = toys.snapshot(sunk=0.5), torch.Generator().manual_seed(0)
    groups = torch.randint(0, 60, (len(rows),), generator=random)
    rows = rows.with_logits(rows.logits + 2 * torch.randn(60, 7, generator=random)[groups])  # each group errs its way
    once, often = evaluate(replace(rows, groups=groups)).intervals, evaluate(copies(rows, times, groups)).intervals
    for name, (low, high) in once.items():
        assert often[name] == pytest.approx((low, high), abs=1e-6)
    naive = evaluate(replace(copies(rows, times, groups), groups=None)).intervals
    assert naive["all"][1] - naive["all"][0] < (often["all"][1] - often["all"][0]) * 0.9


def test_groups_of_equal_rows_count_as_one_row_each() -> None:
    right = torch.tensor([True, True, False, True, False] * 8)
    groups = torch.arange(40)
    repeated = effective_rows(right.repeat_interleave(7), groups.repeat_interleave(7))
    assert repeated == pytest.approx(40 * (1.959964 / width(40)) ** 2)
    assert effective_rows(right, groups) == 40
    assert effective_rows(torch.ones(70, dtype=torch.bool), torch.arange(70) // 7) == pytest.approx(
        10 * (1.959964 / width(10)) ** 2
    )


def test_one_group_tells_nothing_of_others() -> None:
    right = torch.tensor([True, False, True, True])
    low, high = wilson_interval(0.75, effective_rows(right, torch.zeros(4, dtype=torch.int64)))
    assert low < 0.01 and high > 0.99


def test_the_interval_covers_the_accuracy_of_the_groups_population() -> None:
    """Groups of 12 rows whose accuracies differ: Wilson by rows covers too seldom, by groups often enough."""
    random = np.random.default_rng(0)
    groups, truth, covered, naive = torch.arange(40).repeat_interleave(12), 0.7, 0, 0
    for _ in range(400):
        shares = random.beta(7, 3, 40)  # mean 0.7
        right = torch.from_numpy(random.random(480) < np.repeat(shares, 12))
        p = float(right.double().mean())
        for n, name in ((effective_rows(right, groups), "groups"), (480, "rows")):
            low, high = wilson_interval(p, n)
            covered += name == "groups" and low <= truth <= high
            naive += name == "rows" and low <= truth <= high
    assert covered / 400 > 0.92 and naive / 400 < 0.90


def test_the_areas_error_is_delongs_where_each_row_stands_alone() -> None:
    rows = toys.snapshot(400)
    m = margins(rows.logits, rows.known_labels, rows.seen)
    found = area_of(steps_of(m))
    assert found is not None
    assert area_error(m, torch.arange(400)) == pytest.approx(found[1], rel=0.01)
    only = replace(rows, seen=torch.ones(7, dtype=torch.bool))
    assert area_error(margins(only.logits, only.known_labels, only.seen), torch.arange(400)) is None
