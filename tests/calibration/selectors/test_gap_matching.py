"""Gap matching: it undoes a shift of the absent logits exactly."""

from dataclasses import replace

import pytest
import torch

from reclaim.calibration.selectors.average_logit_gap import average_logit_gap
from reclaim.calibration.selectors.gap_matching import gap_matching
from tests.calibration.shared import EVIDENCE, lowered

FORMS = pytest.mark.parametrize("form", ["logsumexp", "max", "mean"])
OWN = pytest.mark.parametrize("without_own", [True, False])


@FORMS
@OWN
def test_if_only_a_shift_separates_the_models_it_is_that_shift(form: str, without_own: bool) -> None:
    changed = lowered(replace(EVIDENCE, before=EVIDENCE.seen), 4.2)
    assert gap_matching(changed, form=form, without_own=without_own).offset == pytest.approx(4.2, abs=1e-6)


@FORMS
@OWN
def test_it_equals_its_definition(form: str, without_own: bool) -> None:
    def gap(rows) -> float:
        z = rows.logits.double()
        if without_own:
            z = z.scatter(1, rows.labels[:, None], -torch.inf)
        s, u = z[:, rows.seen], z[:, ~rows.seen]
        if form == "logsumexp":
            return float((s.logsumexp(1) - u.logsumexp(1)).mean())
        if form == "max":
            return float((s.amax(1) - u.amax(1)).mean())
        kept = torch.where(s.isinf(), 0.0, s)
        return float((kept.sum(1) / (~s.isinf()).sum(1) - u.mean(1)).mean())

    expected = gap(EVIDENCE.seen) - gap(EVIDENCE.before)
    assert gap_matching(EVIDENCE, form=form, without_own=without_own).offset == pytest.approx(expected, abs=1e-5)


def test_the_mean_form_is_the_difference_of_two_average_logit_gaps() -> None:
    before = average_logit_gap(replace(EVIDENCE, seen=EVIDENCE.before)).offset
    expected = average_logit_gap(EVIDENCE).offset - before
    assert gap_matching(EVIDENCE, form="mean").offset == pytest.approx(expected, abs=1e-9)
