"""Constrained calibration: temperature and offset under a certificate."""

import pytest
import torch

from reclaim.calibration.calibrators.constrained import Constrained
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.protocol import Fitted
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


def test_it_scales_seen_logits_by_one_number_and_absent_ones_by_a_line() -> None:
    made = Constrained(2.0, 3.0, 0.5, Fitted((True, False, True), ("a", "b", "c")))
    z = torch.tensor([[4.0, -8.0, 2.0]])
    assert made(z).tolist() == [[2.0, (0.5 * -8 + 3) / 2, 1.0]]
    assert made.affine(("b", "c", "x", "a")).shift.tolist() == [1.5, 0.0, 1.5, 0.0]
    assert (made.selector, made.reason, made.guarantee) == ("", "", None)
    with pytest.raises(BadInput, match="this constrained map is for 3 classes"):
        made(z[:, :2])


def test_with_every_class_seen_or_no_selector_there_is_no_offset() -> None:
    z, y, seen = rows()
    every = Constrained.fit(z[:, seen], (seen.cumsum(0) - 1)[y])
    none = Constrained.fit(z, y, seen, select="none", ratio=0.5)
    for made, selector in ((every, "auto"), (none, "none")):
        assert (made.offset, made.selector, made.reason, made.guarantee) == (
            0,
            selector,
            "no offset was asked for",
            None,
        )
        assert made.fitted.details == Temperature.fit(z, y, seen).fitted.details
        assert made.temperature == Temperature.fit(z, y, seen).temperature
    assert (every.ratio, none.ratio) == (1.0, 0.5)


@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("select", ["auto", "retention-budget", "average-logit-gap", "own-class-left-out"])
@pytest.mark.parametrize(("budget", "confidence"), [(0.02, None), (0.15, None), (0.15, 0.9), (0.9, None), (1.0, None)])
def test_the_offset_is_the_selectors_or_the_largest_that_the_budget_certifies(
    ratio: float, select: str, budget: float, confidence: float | None
) -> None:
    z, y, seen = rows()
    scaled = torch.where(seen, z, ratio * z)
    evidence = Evidence(seen=Snapshot(scaled, y, seen), reference=None if ratio == 1 else Snapshot(z, y, seen))
    made = Constrained.fit(z, y, seen, select=select, budget=budget, confidence=confidence, ratio=ratio)
    told = made.fitted.details
    assert (
        made.selector == select and made.ratio == ratio and made.temperature == Temperature.fit(z, y, seen).temperature
    )
    if budget == 1:
        chosen = find("selectors", select)(evidence)
        assert (made.offset, made.reason, made.guarantee) == (chosen.offset, chosen.reason, chosen.guarantee)
        assert "certified" not in told
        return
    limit = find("selectors", "retention-budget")(evidence, budget=budget, confidence=confidence)
    chosen = limit if select in ("auto", "retention-budget") else find("selectors", select)(evidence)
    assert made.offset == min(chosen.offset, limit.offset) and made.guarantee == limit.guarantee is not None
    assert (told["chosen"], told["certified"]) == (chosen.offset, limit.offset)
    cut = "; cut down to what the budget allows" if chosen.offset > limit.offset else ""
    assert made.reason == chosen.reason + cut
