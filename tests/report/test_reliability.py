"""Reliability in full: the metrics' own numbers for every group, and null for what cannot be measured."""

import json
from dataclasses import asdict

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.report.evaluate import evaluate
from reclaim.report.reliability import GroupReliability, reliability
from reclaim.snapshots.metrics.by_name import NAMES, estimate, estimates
from reclaim.snapshots.metrics.classwise import classwise_brier_parts
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

ROWS = toys.snapshot()
FOUND = reliability(ROWS)
MASKS = {"all": torch.ones(211, dtype=torch.bool), "seen": ROWS.seen[ROWS.labels], "absent": ~ROWS.seen[ROWS.labels]}


@pytest.mark.parametrize("group", MASKS)
def test_each_group_has_what_the_metrics_say_of_its_rows_alone(group: str) -> None:
    found: GroupReliability = getattr(FOUND, group)
    z, y = ROWS.logits[MASKS[group]], ROWS.labels[MASKS[group]]
    assert set(found.estimates) == set(NAMES)
    for alone in estimates(z, y):
        assert found.estimates[alone.name].value == pytest.approx(alone.value, abs=1e-9)
        assert (found.estimates[alone.name].estimator, found.estimates[alone.name].n) == (alone.estimator, len(y))
    assert asdict(found.brier_parts) == pytest.approx(asdict(classwise_brier_parts(z, y)), abs=1e-9)
    gaps = sum(each.count * abs(each.forecast - each.frequency) for each in found.bins)
    assert gaps / len(y) == pytest.approx(found.estimates["ece"].value)


def test_the_debiased_error_alone_has_an_interval() -> None:
    with_interval = estimate("ece-debiased-l1", ROWS.logits, ROWS.labels, resamples=100)
    assert FOUND.all.estimates["ece-debiased-l1"].interval == pytest.approx(with_interval.interval)
    assert [name for name, each in FOUND.all.estimates.items() if each.interval] == ["ece-debiased-l1"]


def test_the_parts_of_the_question_add_up_to_its_score() -> None:
    parts = FOUND.question_parts
    whole = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert whole == pytest.approx(evaluate(ROWS).group_question.brier)
    assert sum(each.count for each in FOUND.question_bins) == 211


def test_what_cannot_be_measured_is_null_and_nothing_is_nan() -> None:
    everything = Snapshot(ROWS.logits, ROWS.labels, torch.ones(7, dtype=torch.bool))
    for rows in (ROWS.seen_rows(), ROWS.rows(torch.tensor([0])), everything):
        record = json.loads(json.dumps(reliability(rows).record(), allow_nan=False))
        assert set(record) == {"all", "seen", "absent", "question_parts", "question_bins"}
    none = reliability(everything)
    assert none.absent.brier_parts is None and none.absent.bins == () and none.question_parts is None
    assert all(each.value is None and each.n == 0 for each in none.absent.estimates.values())
    with pytest.raises(BadInput, match="needs labelled rows"):
        reliability(ROWS.unlabelled())
