"""What every diagnosis must do."""

from dataclasses import replace
from math import isfinite

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.report.diagnose import diagnose
from tests import toys

EVERY = pytest.mark.parametrize("name", names("diagnoses"))
FULL = replace(toys.snapshot(), features=torch.randn(211, 4), weights=toys.classifier().weights)


@EVERY
def test_comparing_a_snapshot_with_itself_finds_no_damage(name: str) -> None:
    found = find("diagnoses", name)(FULL, FULL)
    assert not found.damaged
    assert found.question.endswith("?") and len(found.verdict) > 20


@EVERY
def test_it_does_with_what_it_has(name: str) -> None:
    bare = replace(FULL, features=None, weights=None)
    one_group = [replace(FULL, seen=torch.full((7,), seen)) for seen in (True, False)]
    for rows in (bare, bare.seen_rows(), FULL.seen_rows(), FULL.rows(~FULL.seen[FULL.labels]), *one_group):
        found = find("diagnoses", name)(rows, rows)
        assert not found.damaged
        assert found.value is None or isfinite(found.value)
        assert all(isfinite(v) for v in found.evidence.values() if isinstance(v, float))


def test_snapshots_of_different_rows_or_classes_are_refused() -> None:
    rows = toys.snapshot()
    with pytest.raises(BadInput, match="different rows"):
        diagnose(rows, rows.rows(torch.arange(10)))
    with pytest.raises(BadInput, match="different classes"):
        diagnose(rows, replace(rows, classes=tuple("abcdefg")))
    with pytest.raises(BadInput, match="have none"):
        diagnose(rows.rows(torch.arange(0)), rows.rows(torch.arange(0)))
    with pytest.raises(BadInput, match="needs labelled rows"):
        diagnose(rows, rows.unlabelled())
