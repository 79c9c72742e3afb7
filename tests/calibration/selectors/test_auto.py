"""Auto: which selector it takes for which evidence, and that the budget holds throughout."""

from dataclasses import replace
from math import inf

import pytest
import torch

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.auto import auto, without_budget
from reclaim.calibration.selectors.average_logit_gap import average_logit_gap
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.calibration.selectors.labelled import labelled
from reclaim.calibration.selectors.larger_of_two import larger_of_two
from reclaim.calibration.selectors.rate_matching import rate_matching
from reclaim.calibration.selectors.retention_budget import retention_budget
from reclaim.core.errors import BadInput
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.calibration.shared import EVIDENCE

INSTEAD = ("labelled",)  # labelled rows of all classes are all that it reads, where there are any
FEW = Evidence(seen=EVIDENCE.seen.rows(torch.arange(12)), before=EVIDENCE.before.rows(torch.arange(12)))


def test_labelled_rows_decide_alone() -> None:
    chosen = auto(EVIDENCE)
    assert chosen.offset == labelled(EVIDENCE).offset and chosen.evidence == {"labelled": len(EVIDENCE.labelled)}


def test_the_pretrained_answers_lower_the_offset_but_never_raise_it_above_the_budget() -> None:
    given = Evidence(seen=EVIDENCE.seen, before=EVIDENCE.before)
    generous, strict = auto(given, budget=0.3), auto(given, budget=0.02)
    most = retention_budget(given, budget=0.3).offset
    assert generous.offset == (larger_of_two(given).offset + most) / 2 < most
    assert strict.offset == retention_budget(given, budget=0.02).offset < larger_of_two(given).offset
    assert generous.guarantee and strict.guarantee


def test_an_offset_is_never_below_zero() -> None:
    rows = replace(EVIDENCE.seen, logits=EVIDENCE.seen.logits + 9.0 * ~EVIDENCE.seen.seen)
    assert auto(Evidence(seen=rows, before=EVIDENCE.before), budget=0.02).offset == 0


def test_held_out_rows_spend_the_budget() -> None:
    chosen = auto(Evidence(seen=EVIDENCE.seen), budget=0.1)
    assert chosen.offset == retention_budget(EVIDENCE, budget=0.1).offset
    assert chosen.guarantee == "seen accuracy falls by at most 0.1 in expectation, n = " + str(len(EVIDENCE.seen))


def test_unlabelled_rows_lower_the_offset_but_never_raise_it_above_the_budget() -> None:
    given = replace(EVIDENCE, labelled=None)
    generous, strict = auto(given, budget=0.5), auto(given, budget=0.02)
    assert generous.offset == rate_matching(given).offset < retention_budget(given, budget=0.5).offset
    assert strict.offset == retention_budget(given, budget=0.02).offset < rate_matching(given).offset
    assert generous.guarantee and strict.guarantee


def test_too_few_rows_promise_nothing() -> None:
    chosen = auto(FEW)
    assert chosen.offset == gap_matching(FEW).offset and chosen.guarantee is None
    chosen = auto(replace(FEW, before=None))
    assert chosen.offset == average_logit_gap(FEW).offset and chosen.guarantee is None
    assert "19 are needed" in chosen.reason


def test_without_a_budget_the_strongest_evidence_has_its_own_selector() -> None:
    given = toys.evidence()

    def pick(**more: Snapshot | None) -> str:
        return without_budget(Evidence(seen=given.seen, **more))

    assert pick() == "average-logit-gap" and pick(before=given.before) == "larger-of-two"
    assert pick(before=given.before, unlabelled=given.unlabelled) == "rate-matching"
    assert pick(unlabelled=given.unlabelled, labelled=given.labelled) == "labelled"


def test_a_confidence_reaches_the_certificate_whatever_else_is_given() -> None:
    for given in (
        Evidence(seen=EVIDENCE.seen),
        Evidence(seen=EVIDENCE.seen, before=EVIDENCE.before),
        replace(EVIDENCE, labelled=None),
    ):
        chosen = auto(given, budget=0.2, confidence=0.9)
        assert chosen.guarantee == retention_budget(given, budget=0.2, confidence=0.9).guarantee
        assert "with probability 0.9" in chosen.guarantee
    alone = Evidence(seen=EVIDENCE.seen)
    assert auto(alone, budget=0.2, confidence=0.9).offset == retention_budget(alone, budget=0.2, confidence=0.9).offset


def test_it_tells_what_it_read_and_what_the_budget_was() -> None:
    n, pair = len(EVIDENCE.seen), Evidence(seen=EVIDENCE.seen, before=EVIDENCE.before)
    generous, strict = auto(pair, budget=0.3), auto(pair, budget=0.02)
    assert generous.evidence == {"seen": n, "before": n}
    assert generous.details == larger_of_two(pair).details | {"unlimited": larger_of_two(pair).offset}
    assert strict.details == retention_budget(pair, budget=0.02).details | {"unlimited": larger_of_two(pair).offset}
    given = replace(EVIDENCE, labelled=None)
    generous = auto(given, budget=0.5)
    assert generous.evidence == {"seen": n, "unlabelled": len(EVIDENCE.unlabelled)}
    assert generous.details["unlimited"] == rate_matching(given).offset


def test_with_one_seen_class_no_selector_is_taken_that_refuses_it() -> None:
    given = toys.evidence(c=3)
    one = torch.tensor([True, False, False])

    def only(rows: Snapshot) -> Snapshot:
        return replace(rows, seen=one).seen_rows()

    pair = Evidence(seen=only(given.seen), before=only(given.before))
    assert auto(pair, budget=0.3).offset == retention_budget(pair, budget=0.3).offset
    assert without_budget(pair) == "average-logit-gap"


def split(n: int, margin: float = 3.0) -> Snapshot:
    """Rows of the first of two seen and two absent classes, right by a margin of their own."""
    d = margin + torch.arange(n, dtype=torch.float64) / 8
    z = torch.stack([d, d - 9, 0 * d, 0 * d - 1], dim=1)
    return Snapshot(z, torch.zeros(n, dtype=torch.int64), torch.tensor([True, True, False, False]))


def told(chosen: Selection, how: str, by: Selection) -> None:
    """The reason is that of the selector that was taken, after its name."""
    assert chosen.reason == f"{how}: {by.reason}"


def test_it_names_the_selector_that_it_took_and_gives_its_reason() -> None:
    pair, alone = Evidence(seen=EVIDENCE.seen, before=EVIDENCE.before), Evidence(seen=EVIDENCE.seen)
    told(auto(EVIDENCE), "labelled", labelled(EVIDENCE))
    told(auto(alone), "retention-budget", retention_budget(alone))
    told(auto(pair, budget=0.02), "retention-budget", retention_budget(pair, budget=0.02))
    given = replace(EVIDENCE, labelled=None)
    told(auto(given, budget=0.5), "rate-matching within the budget", rate_matching(given))
    n = len(FEW.seen)
    few = f"because {n} held-out rows cannot certify a budget and 19 are needed"
    told(auto(FEW), f"gap-matching, {few}", gap_matching(FEW))
    lone = replace(FEW, before=None)
    told(auto(lone), f"average-logit-gap, {few}", average_logit_gap(lone))
    two, most = larger_of_two(pair), retention_budget(pair, budget=0.3).offset
    middle = (
        f"{(two.offset + most) / 2:.2f} is midway between {two.offset:.2f} and the budget's {most:.2f}; {two.reason}"
    )
    assert auto(pair, budget=0.3).reason == f"midway from larger-of-two to the budget: {middle}"


def test_as_many_rows_as_are_needed_certify_and_one_less_does_not() -> None:
    for numbers, needed in (({}, 19), ({"budget": 0.1}, 9), ({"confidence": 0.95}, 59)):
        enough, less = (auto(Evidence(seen=split(n)), **numbers) for n in (needed, needed - 1))
        assert enough.guarantee is not None and enough.reason.startswith("retention-budget: ")
        assert less.guarantee is None and f"{needed - 1} held-out rows" in less.reason


def test_what_asks_for_just_the_budgets_offset_gets_the_budgets() -> None:
    rows = split(40)
    most = retention_budget(Evidence(seen=rows)).offset
    for margin, how in ((most, "retention-budget"), (most - 0.01, "rate-matching within the budget")):
        one = replace(split(1, margin), labels=None)  # half of the classes are absent: it asks for the margin itself
        chosen = auto(Evidence(seen=rows, unlabelled=one))
        assert chosen.offset == margin and chosen.reason.startswith(f"{how}: ")
        assert chosen.details["unlimited"] == margin and chosen.guarantee


def test_with_two_seen_classes_the_larger_of_two_has_a_say() -> None:
    rows = toys.evidence(n=400, c=4)
    pair = Evidence(seen=rows.seen, before=rows.before)
    middle = (larger_of_two(pair).offset + retention_budget(pair, budget=0.4).offset) / 2
    assert auto(pair, budget=0.4).offset == middle
    assert without_budget(pair) == "larger-of-two"


def test_where_no_level_means_anything_the_offset_may_be_negative() -> None:
    rows = split(40, margin=-30.0)
    one = replace(split(1, -40.0), labels=None)
    for least, offset in ((0.0, 0.0), (-inf, -40.0)):
        given = Evidence(seen=rows, unlabelled=one, least=least)
        assert auto(given).offset == offset
    assert auto(Evidence(seen=rows, least=-inf)).offset == retention_budget(Evidence(seen=rows, least=-inf)).offset < 0


def test_it_says_what_it_needs() -> None:
    rows = replace(split(3), labels=None)
    for choose in (auto, without_budget):
        with pytest.raises(BadInput, match="the selector 'auto' needs labelled held-out rows"):
            choose(Evidence(before=split(3)) if choose is without_budget else Evidence(unlabelled=rows))
