"""Every field of a selection, by plain loops over rows: the numbers that the reason tells, what was read, details."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.calibration.selectors.average_logit_gap import average_logit_gap
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.calibration.selectors.labelled import labelled
from reclaim.calibration.selectors.larger_of_two import larger_of_two
from reclaim.calibration.selectors.own_class_left_out import own_class_left_out
from reclaim.calibration.selectors.pseudo_absent import pseudo_absent
from reclaim.calibration.selectors.rate_matching import rate_matching
from reclaim.calibration.selectors.source_data import source_data
from reclaim.core.errors import BadInput
from reclaim.core.registry import find
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.calibration.shared import EVIDENCE

N = len(EVIDENCE.seen)
PAIR = {"seen": N, "before": N}
ONE, TWO = torch.tensor([True, False, False]), torch.tensor([True, True, False, False])


def gap(rows: Snapshot, form: str, without_own: bool) -> float:
    """The mean over rows of the seen logits' number less that of the absent ones."""
    found = []
    for z, label in zip(rows.logits.double().numpy(), rows.known_labels.tolist(), strict=True):
        seen = [z[c] for c in range(len(z)) if rows.seen[c] and not (without_own and c == label)]
        absent = [z[c] for c in range(len(z)) if not rows.seen[c]]
        one = {"mean": np.mean, "max": np.max, "logsumexp": np.logaddexp.reduce}[form]
        found.append(one(seen) - one(absent))
    return float(np.mean(found))


def accuracies(rows: Snapshot, offset: float) -> dict[str, float]:
    """Overall, balanced and harmonic accuracy with an offset."""
    right = (rows.logits.double() + offset * ~rows.seen).argmax(dim=1) == rows.labels
    of_seen = rows.seen[rows.known_labels]
    s, a = float(right[of_seen].double().mean()), float(right[~of_seen].double().mean())
    return {"overall": float(right.double().mean()), "balanced": (s + a) / 2, "harmonic": 2 * s * a / (s + a)}


def test_the_average_logit_gap() -> None:
    wanted = gap(EVIDENCE.seen, "mean", without_own=True)
    found = average_logit_gap(EVIDENCE)
    told = f"on {N} held-out rows the other seen logits stand {wanted:.2f} above the absent ones on average"
    assert found == Selection(pytest.approx(wanted, abs=1e-6), told, {"seen": N})


@pytest.mark.parametrize("form", ["logsumexp", "max", "mean"])
@pytest.mark.parametrize("without_own", [True, False])
def test_gap_matching(form: str, without_own: bool) -> None:
    then, now = (gap(rows, form, without_own) for rows in (EVIDENCE.before, EVIDENCE.seen))
    found = gap_matching(EVIDENCE, form=form, without_own=without_own)
    told = f"the gap between seen and absent logits ({form}) was {then:.2f} before fine-tuning, is {now:.2f} now"
    details = {"gap_before": pytest.approx(then, abs=1e-5), "gap_after": pytest.approx(now, abs=1e-5)}
    assert found == Selection(pytest.approx(now - then, abs=2e-5), told, PAIR, None, details)


@pytest.mark.parametrize("criterion", ["overall", "balanced", "harmonic"])
def test_the_best_offset_on_labelled_rows(criterion: str) -> None:
    rows = replace(EVIDENCE.labelled, split="held")
    found = labelled(Evidence(labelled=rows), criterion=criterion)
    margin = toys.group_margin(rows.logits, rows.seen).double().unique()
    ceiling = max(accuracies(rows, float(x))[criterion] for x in (margin[1:] + margin[:-1]) / 2)
    value = accuracies(rows, found.offset)[criterion]
    where = f"around it {criterion} accuracy is best, {value:.3f} on {len(rows)}"
    details = {"criterion": criterion, "ceiling": pytest.approx(ceiling), "split": "held"}
    read = {"labelled": len(rows)}
    assert found == Selection(found.offset, f"{where} labelled rows of all classes", read, None, details)
    source = source_data(Evidence(source=rows), criterion=criterion)
    told = f"{where} rows of the pretraining domain"
    assert source == Selection(found.offset, told, {"source": len(rows)}, None, {"criterion": criterion})


def test_the_larger_of_two() -> None:
    matched, imitated = gap_matching(EVIDENCE), pseudo_absent(EVIDENCE)
    offsets = {"gap_matching": matched.offset, "pseudo_absent": imitated.offset}
    found = larger_of_two(EVIDENCE)
    told = (
        f"of two offsets it is the larger one: on {N} held-out rows {matched.offset:.2f} matches the pretrained gap "
        f"between seen and absent logits, and {imitated.offset:.2f} is best for pseudo-absent rows"
    )
    assert found == Selection(max(offsets.values()), told, PAIR, None, offsets)


def test_the_own_class_left_out() -> None:
    rows, found = EVIDENCE.seen, own_class_left_out(EVIDENCE)
    kept = (rows.logits + found.offset * ~rows.seen).argmax(dim=1) == rows.labels
    without = rows.logits.scatter(1, rows.known_labels[:, None], -inf) + found.offset * ~rows.seen
    value = float(kept.double().mean() + (~rows.seen)[without.argmax(dim=1)].double().mean()) / 2
    told = f"it keeps rows right, and sends rows without their own class to absent ones, {value:.1%} of the time"
    assert found == Selection(found.offset, told, {"seen": N})


@pytest.mark.parametrize("count", ["hard", "soft"])
@pytest.mark.parametrize("rate", [None, 0.3])
def test_rate_matching(count: str, rate: float | None) -> None:
    share, how = (3 / 7, "the share of classes that are absent") if rate is None else (rate, "as given")
    found, n = rate_matching(EVIDENCE, rate=rate, count=count), len(EVIDENCE.unlabelled)
    told = f"it answers {share:.1%} of {n} unlabelled rows with an absent class ({how})"
    assert found == Selection(found.offset, told, {"unlabelled": n}, None, {"rate": share})


EQUAL_AFTER_SCALING = {
    "average-logit-gap": {},
    "gap-matching": {"form": "max"},
    "labelled": {},
    "own-class-left-out": {},
    "source-data": {"criterion": "harmonic"},
    "retention-budget": {"budget": 0.2},
}


@pytest.mark.parametrize("name", EQUAL_AFTER_SCALING)
@pytest.mark.parametrize("factor", [0.5, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_of_another_scale_have_an_offset_of_that_scale(name: str, factor: float, dtype: torch.dtype) -> None:
    """Half-integers over a power of two, so that no product is rounded; without a step beyond the last margin."""
    by = 2.0 ** round(np.log2(factor))

    def times(number: float) -> Evidence:
        given = {
            kind: replace(rows, logits=number * (rows.logits * 4).round().to(dtype) + number * torch.arange(7) / 32)
            for kind, rows in EVIDENCE.given().items()
        }
        return Evidence(**given)

    plain, scaled = (find("selectors", name)(times(number), **EQUAL_AFTER_SCALING[name]) for number in (1.0, by))
    assert scaled.offset == pytest.approx(by * plain.offset, rel=1e-9)


def test_two_seen_classes_are_enough_and_one_is_not() -> None:
    z = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)) - 3.0 * ~TWO
    rows = Snapshot(z, torch.arange(40) % 2, TWO)
    single = Snapshot(z[:, 1:], torch.zeros(40, dtype=torch.int64), ONE)
    for name in ("average-logit-gap", "own-class-left-out", "pseudo-absent", "larger-of-two"):
        method = find("selectors", name)
        assert np.isfinite(method(Evidence(seen=rows, before=rows)).offset)
        with pytest.raises(BadInput, match="needs two seen classes"):
            method(Evidence(seen=single, before=single))
    pair = Evidence(seen=single, before=replace(single, logits=single.logits + 2.0 * ~ONE))
    assert gap_matching(pair, form="mean", without_own=False).offset == pytest.approx(2.0, abs=1e-5)
    with pytest.raises(BadInput, match="needs two seen classes"):
        gap_matching(pair, form="mean")


def test_the_gap_of_a_row_is_kept_to_the_last_digit() -> None:
    """2^24 and 1 are 24 bits apart: their difference is no number of 32 bits."""
    row = torch.tensor([[0.0, 2.0**24, -1.0]])
    rows = Snapshot(row, torch.tensor([0]), torch.tensor([True, True, False]))
    assert average_logit_gap(Evidence(seen=rows)).offset == 2**24 + 1


def test_labelled_rows_without_labels_or_without_a_group_are_refused() -> None:
    rows = EVIDENCE.labelled
    with pytest.raises(BadInput, match="needs labels; these rows have none"):
        labelled(Evidence(labelled=replace(rows, labels=None)))
    for group, word in ((rows.seen, "a seen"), (~rows.seen, "an absent")):
        others = rows.rows(~group[rows.labels])
        with pytest.raises(BadInput, match=f"none of the {len(others)} labelled rows belongs to {word} class"):
            labelled(Evidence(labelled=others))
