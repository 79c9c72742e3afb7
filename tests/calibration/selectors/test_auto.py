"""Auto: which selector it takes for which evidence, and that the budget holds throughout."""

from dataclasses import replace

import torch

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.auto import auto, without_budget
from reclaim.calibration.selectors.average_logit_gap import average_logit_gap
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.calibration.selectors.labelled import labelled
from reclaim.calibration.selectors.larger_of_two import larger_of_two
from reclaim.calibration.selectors.rate_matching import rate_matching
from reclaim.calibration.selectors.retention_budget import retention_budget
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
