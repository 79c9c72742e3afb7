"""Evaluation: every number once, and null for what cannot be measured."""

import json
from dataclasses import asdict

import pytest

from reclaim.core.errors import BadInput
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.metrics.absent_probability import group_question
from reclaim.snapshots.metrics.accuracy import accuracy, wilson_interval
from reclaim.snapshots.metrics.confidence import confidence
from reclaim.snapshots.metrics.tradeoff import area, best, curve
from tests import toys


def test_it_holds_what_the_metrics_say() -> None:
    rows = toys.snapshot()
    found, given = evaluate(rows), (rows.logits, rows.labels, rows.seen)
    top = best(curve(*given))
    assert found.accuracy == accuracy(*given)
    assert found.tradeoff.area == area(*given)
    assert (found.tradeoff.best_offset, found.tradeoff.best_all) == (top.offset, top.ceiling)
    assert found.intervals["absent"] == wilson_interval(found.accuracy.absent, found.absent_rows)
    low, high = found.intervals["area"]
    assert low < found.tradeoff.area < high
    assert found.confidence == confidence(rows.logits, rows.labels)
    for name, mask in {"seen": rows.seen[rows.labels], "absent": ~rows.seen[rows.labels]}.items():
        alone = confidence(rows.logits[mask], rows.labels[mask])
        assert asdict(found.confidence_by_group[name]) == pytest.approx(asdict(alone))
    assert found.group_question == group_question(*given)
    assert found.n == 211 == found.seen_rows + found.absent_rows


def test_the_record_has_the_keys_that_scripts_rely_on_and_no_nan() -> None:
    for rows in (toys.snapshot(), toys.snapshot().seen_rows()):
        record = json.loads(json.dumps(evaluate(rows).record(), allow_nan=False))
        assert set(record["accuracy"]) == {
            "all",
            "seen",
            "absent",
            "seen_among_seen",
            "absent_among_absent",
            "harmonic",
        }
        assert set(record["tradeoff"]) == {"area", "best_offset", "best_all"}
        assert set(record["confidence_by_group"]) == {"seen", "absent"}
        for scores in (record["confidence"], record["group_question"], *record["confidence_by_group"].values()):
            assert set(scores) == {"nll", "brier", "ece"}
    assert record["accuracy"]["absent"] is None and record["tradeoff"]["area"] is None
    assert record["intervals"]["area"] is None
    assert record["confidence_by_group"]["absent"] == {"nll": None, "brier": None, "ece": None}


def test_without_labels_or_rows_it_refuses() -> None:
    for rows in (toys.snapshot().unlabelled(), toys.snapshot().rows(toys.logits()[1] > 99)):
        with pytest.raises(BadInput, match="needs labelled rows"):
            evaluate(rows)
