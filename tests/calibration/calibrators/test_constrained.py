"""Constrained calibration: temperature and offset under a certificate."""

import pytest
import torch

from reclaim.calibration.calibrators.constrained import Constrained
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.evidence import Evidence
from reclaim.core.errors import BadInput
from reclaim.core.registry import find
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.snapshot import Snapshot
from tests import toys


def rows(n: int = 900) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    z, y, seen = toys.logits(n=n)
    return z[seen[y]], y[seen[y]], seen


def test_without_a_selector_it_is_the_temperature() -> None:
    z, y, seen = rows()
    fitted = Constrained.fit(z, y, seen, select="none")
    torch.testing.assert_close(fitted(z), Temperature.fit(z, y, seen)(z))
    assert fitted.guarantee is None and fitted.offset == 0


@pytest.mark.parametrize("select", ["average-logit-gap", "own-class-left-out"])
def test_a_budget_of_everything_leaves_the_selectors_offset(select: str) -> None:
    z, y, seen = rows()
    expected = find("selectors", select)(Evidence(seen=Snapshot(z, y, seen))).offset
    assert Constrained.fit(z, y, seen, select=select, budget=1.0).offset == pytest.approx(expected)


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.4])
def test_the_rows_never_lose_more_than_the_budget(budget: float, ratio: float) -> None:
    z, y, seen = rows()
    fitted = Constrained.fit(z, y, seen, select="own-class-left-out", budget=budget, ratio=ratio)
    before, after = accuracy(z, y, seen).seen, accuracy(fitted(z), y, seen).seen
    assert before is not None and after is not None and before - after <= budget
    assert fitted.guarantee is not None and f"at most {budget:g}" in fitted.guarantee


def test_too_few_rows_for_the_budget_are_refused() -> None:
    z, y, seen = rows()
    with pytest.raises(BadInput, match=r"10 held-out rows of seen classes cannot certify a budget of 0.05; 19 are"):
        Constrained.fit(z[:10], y[:10], seen)


def test_a_ratio_that_turns_the_order_round_is_refused() -> None:
    z, y, seen = rows()
    with pytest.raises(BadInput, match="above 0"):
        Constrained.fit(z, y, seen, ratio=-1.0)
