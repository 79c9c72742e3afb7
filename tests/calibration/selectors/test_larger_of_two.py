"""Bolder: the larger of the two."""

import pytest

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.calibration.selectors.larger_of_two import larger_of_two
from reclaim.calibration.selectors.pseudo_absent import pseudo_absent
from tests.calibration.shared import EVIDENCE, lowered

GIVEN = Evidence(seen=EVIDENCE.seen, before=EVIDENCE.before)


def test_it_is_the_larger_of_gap_matching_and_pseudo_absent() -> None:
    ends = gap_matching(GIVEN).offset, pseudo_absent(GIVEN).offset
    assert ends[0] != ends[1] and larger_of_two(GIVEN).offset == max(ends)


def test_lowering_absent_logits_raises_it_by_as_much() -> None:
    assert larger_of_two(lowered(EVIDENCE, 1.7)).offset == pytest.approx(larger_of_two(EVIDENCE).offset + 1.7, abs=0.02)


def test_the_pretrained_model_itself_gets_no_offset() -> None:
    assert larger_of_two(Evidence(seen=EVIDENCE.before, before=EVIDENCE.before)).offset == 0


def test_it_tells_both_offsets() -> None:
    chosen = larger_of_two(GIVEN)
    assert chosen.details["gap_matching"] == gap_matching(GIVEN).offset
    assert chosen.details["pseudo_absent"] == pseudo_absent(GIVEN).offset
    assert all(f"{end:.2f}" in chosen.reason for end in (gap_matching(GIVEN).offset, pseudo_absent(GIVEN).offset))
    assert chosen.evidence == {"seen": len(EVIDENCE.seen), "before": len(EVIDENCE.before)}
