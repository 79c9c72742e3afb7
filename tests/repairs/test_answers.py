"""The main job from answers alone: what may choose, what is promised, what comes out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.repairs.answers import Pair, repair_answers
from reclaim.repairs.choices import Choices
from reclaim.repairs.mixtures import OutputMixture, mixed
from reclaim.repairs.result import Repair
from reclaim.repairs.rows import MoreEvidence, divide_rows
from reclaim.report.evaluate import evaluate
from reclaim.report.story import sentences
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys

SEEN = toys.snapshot(1).seen
TILT = torch.tensor([0.0, 1.5, 1.0, -1.0, -1.0, -0.5, 0.0])  # the new domain favours some classes


def pair(n: int = 1200, seed: int = 0) -> Pair:
    """A pretrained model's answers, and those after a fine-tuning: sure on seen rows, absent logits sunk and torn."""
    before = toys.snapshot(n, seed=seed, sunk=0.0, classes=tuple("abcdefg"), split="val", data="toys")
    own = 3.0 * torch.nn.functional.one_hot(before.labels, 7) * SEEN[before.labels][:, None]
    noise = torch.randn(n, 7, generator=torch.Generator().manual_seed(seed + 100))
    return before, replace(before, logits=before.logits + own - 6.0 * ~SEEN + noise + TILT)


BEFORE, AFTER = pair()
DONE = repair_answers(BEFORE, AFTER)


def both(change, given: Pair = (BEFORE, AFTER)) -> Pair:
    """The same change of both models' answers."""
    first, last = (change(rows) for rows in given)
    return first, last


def chosen(given: Repair[OutputMixture]) -> tuple:
    """All that was chosen, and why."""
    return given.model, given.mix


def garbled(which: torch.Tensor):
    """Nonsense in place of the answers on the rows `which` [N] bool."""
    noise = 9 * torch.randn(len(which), 7, generator=torch.Generator().manual_seed(9))
    return lambda rows: replace(rows, logits=torch.where(which[:, None], noise, rows.logits))


# --- what comes out


def test_it_beats_both_models_over_all_classes() -> None:
    accuracy = {name: evaluate(getattr(DONE, name)).accuracy.all for name in ("before", "after", "repaired")}
    assert accuracy["repaired"] > max(accuracy["before"], accuracy["after"]) + 0.02
    assert 0 < DONE.alpha < 1 and DONE.offset.offset > 0 and any(DONE.offset.shifts)


def test_what_it_reports_is_what_the_mixture_makes_of_the_report_rows() -> None:
    _, (_, end) = (divide_rows(rows, SEEN[AFTER.labels]) for rows in (BEFORE, AFTER))
    assert torch.equal(DONE.after.logits, end.logits) and torch.equal(DONE.after.labels, end.labels)
    torch.testing.assert_close(DONE.repaired.logits, DONE.model(DONE.before.logits, DONE.after.logits))
    by_hand = mixed(DONE.before.logits, DONE.after.logits, DONE.alpha) + torch.tensor(DONE.offset.shifts)
    torch.testing.assert_close(DONE.repaired.logits, by_hand + DONE.offset.offset * ~SEEN)
    assert {DONE.before.split, DONE.after.split, DONE.repaired.split} == {"report rows"}


def test_other_seeds_and_shares_divide_the_rows_otherwise() -> None:
    other = repair_answers(BEFORE, AFTER, Choices(seed=1))
    assert not torch.equal(other.after.labels, DONE.after.labels)
    assert len(repair_answers(BEFORE, AFTER, Choices(held_out=0.75)).repaired) == 300


def test_rows_from_several_files_choose_the_same(tmp_path: Path) -> None:
    back = []
    for name, rows in (("before", BEFORE), ("after", AFTER)):
        save_snapshot(tmp_path / name, rows, shard_size=10_000)
        back.append(load_snapshot(tmp_path / name))
    done = repair_answers(*back)
    assert chosen(done) == chosen(DONE) and torch.equal(done.repaired.logits, DONE.repaired.logits)


# --- what may choose


def test_no_row_of_an_absent_class_chooses() -> None:
    assert chosen(repair_answers(*both(garbled(~SEEN[AFTER.labels])))) == chosen(DONE)
    relabelled = both(lambda rows: replace(rows, labels=torch.where(SEEN[rows.labels], rows.labels, 1)))
    assert chosen(repair_answers(*relabelled)) == chosen(DONE)


def test_no_report_row_chooses() -> None:
    numbered = replace(AFTER, features=torch.arange(1200)[:, None])
    chooses, reports = divide_rows(numbered, SEEN[AFTER.labels])
    which = torch.zeros(1200, dtype=torch.bool)
    which[reports.features[:, 0]] = True
    done = repair_answers(*both(garbled(which)))
    assert chosen(done) == chosen(DONE) and not torch.equal(done.repaired.logits, DONE.repaired.logits)
    which = torch.zeros(1200, dtype=torch.bool)
    which[chooses.features[:, 0]] = True
    assert chosen(repair_answers(*both(garbled(which)))) != chosen(DONE)


def test_rows_given_to_report_leave_all_seen_rows_to_choose() -> None:
    report = pair(n=90, seed=5)
    done = repair_answers(BEFORE, AFTER, report=report)
    assert done.mix.rows + done.offset.evidence["seen"] == len(AFTER.seen_rows())
    assert torch.equal(done.before.logits, report[0].logits) and torch.equal(done.after.logits, report[1].logits)
    assert chosen(repair_answers(BEFORE, AFTER, report=both(garbled(torch.ones(90) > 0), report))) == chosen(done)
    assert chosen(repair_answers(*both(garbled(~SEEN[AFTER.labels])), report=report)) == chosen(done)
    alone = both(lambda rows: rows.seen_rows())
    assert chosen(repair_answers(*alone, report=report)) == chosen(done)


def test_labels_of_unlabelled_rows_are_not_read() -> None:
    target = pair(n=400, seed=3)
    done = repair_answers(BEFORE, AFTER, evidence=MoreEvidence(unlabelled=target))
    for change in (lambda rows: rows.unlabelled(), lambda rows: replace(rows, labels=0 * rows.labels)):
        assert chosen(repair_answers(BEFORE, AFTER, evidence=MoreEvidence(unlabelled=both(change, target)))) == chosen(
            done
        )


def test_classes_of_either_model_may_be_in_another_order() -> None:
    order, target = tuple("gbeadfc"), pair(n=90, seed=3)
    turned = BEFORE.reordered(order)
    assert chosen(repair_answers(turned, AFTER)) == chosen(DONE)
    more = {"unlabelled": target}
    done = repair_answers(BEFORE, AFTER, evidence=MoreEvidence(**more), report=target)
    reordered = both(lambda rows: rows.reordered(order), target)
    again = repair_answers(turned, AFTER, evidence=MoreEvidence(unlabelled=reordered), report=reordered)
    assert chosen(again) == chosen(done) and torch.equal(again.repaired.logits, done.repaired.logits)
    other = repair_answers(BEFORE, AFTER.reordered(order))
    assert other.offset.fitted.classes == order and other.alpha == DONE.alpha
    torch.testing.assert_close(other.repaired.reordered(AFTER.classes).logits, DONE.repaired.logits)


def test_the_fine_tuned_model_says_which_classes_are_seen() -> None:
    unknowing = lambda rows: replace(rows, seen=torch.ones(7) > 0)  # noqa: E731 - as a pretrained model's snapshot is
    assert chosen(repair_answers(unknowing(BEFORE), AFTER)) == chosen(DONE)
    target = pair(n=90, seed=3)
    done = repair_answers(BEFORE, AFTER, evidence=MoreEvidence(unlabelled=target), report=target)
    again = repair_answers(
        BEFORE, AFTER, evidence=MoreEvidence(unlabelled=both(unknowing, target)), report=both(unknowing, target)
    )
    assert chosen(again) == chosen(done) and torch.equal(again.repaired.seen, SEEN)


# --- what may be said beforehand


@pytest.mark.parametrize("alpha", [0.0, 0.45, 1.0])
def test_a_given_alpha_is_taken(alpha: float) -> None:
    done = repair_answers(BEFORE, AFTER, Choices(mix=alpha))
    assert (done.model.alpha, done.mix.reason, done.mix.tried) == (alpha, "as given", ())


def test_the_budget_reaches_the_choice() -> None:
    small, large = (repair_answers(BEFORE, AFTER, Choices(mix=1.0, numbers={"budget": b})) for b in (0.02, 0.3))
    assert small.offset.offset < large.offset.offset and "at most 0.02" in str(small.offset.guarantee)


def test_many_rows_earn_a_guarantee_and_few_or_a_preference_do_not() -> None:
    n = DONE.offset.evidence["seen"]
    assert DONE.offset.guarantee == f"seen accuracy falls by at most 0.05 in expectation, n = {n}"
    assert DONE.mix.rows + n == len(divide_rows(AFTER, SEEN[AFTER.labels])[0]) >= 200
    few = repair_answers(*pair(n=600))
    assert few.mix.rows == few.offset.evidence["seen"] < 200
    assert few.offset.guarantee is None and "the same rows chose the mixture" in few.offset.reason
    wish = repair_answers(BEFORE, AFTER, Choices(prefer="balanced"))
    assert wish.offset.guarantee is None and wish.offset.selector == "larger-of-two"
    assert wish.mix.rows == wish.offset.evidence["seen"] == DONE.mix.rows + n


def test_the_promise_holds_on_rows_that_chose_nothing() -> None:
    was, now = (evaluate(rows).accuracy.seen for rows in (DONE.after, DONE.repaired))
    assert was is not None and now is not None and was - 0.08 < now < was  # 0.05 in expectation, of some 340 rows


def test_class_shifts_of_nought_shift_nothing() -> None:
    assert repair_answers(BEFORE, AFTER, Choices(class_shifts=0)).offset.shifts == ()


def test_more_evidence_reaches_the_choices() -> None:
    more = {"unlabelled": pair(n=400, seed=3), "labelled": pair(n=300, seed=4)}
    for name, selector in (("unlabelled", "rate-matching"), ("labelled", "labelled")):
        done = repair_answers(BEFORE, AFTER, Choices(select=selector), evidence=MoreEvidence(**{name: more[name]}))
        assert done.offset.evidence == {name: len(more[name][0])}
        assert done.offset.shifts != DONE.offset.shifts and done.mix.tried != DONE.mix.tried
    assert (
        repair_answers(BEFORE, AFTER, Choices(prefer="balanced"), evidence=MoreEvidence(**more)).offset.selector
        == "labelled"
    )
    source = repair_answers(
        BEFORE, AFTER, Choices(select="source-data"), evidence=MoreEvidence(source=pair(n=300, seed=4))
    )
    assert source.offset.evidence == {"source": 300}


# --- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.unlabelled(), "these rows have no labels; held-out rows of seen classes must be labelled"),
        (lambda rows: replace(rows, seen=torch.ones(7) > 0), "no class is absent"),
        (lambda rows: replace(rows, seen=torch.ones(7) < 0), "no class is marked as seen"),
        (lambda rows: rows.rows(~SEEN[rows.labels]), "toys leaves 0 held-out rows of seen classes to choose with"),
        (lambda rows: replace(rows.rows(slice(1)), data=""), "the snapshot leaves"),
    ],
)
def test_without_rows_or_classes_to_choose_by_it_refuses(change, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        repair_answers(*both(change))


def test_rows_and_classes_that_do_not_belong_together_are_refused() -> None:
    other = pair(n=300, seed=1)
    for more in ({}, {"report": other}):
        with pytest.raises(BadInput, match=r"different rows \(300 and 1200\)"):
            repair_answers(other[0], AFTER, **more)
    for more in ({"report": (BEFORE, other[1])}, {"evidence": MoreEvidence(unlabelled=(BEFORE, other[1]))}):
        with pytest.raises(BadInput, match=r"different rows \(1200 and 300\)"):
            repair_answers(BEFORE, AFTER, **more)
    foreign = both(lambda rows: replace(rows, classes=tuple("abcdefh")), other)
    for more in ({"report": foreign}, {"evidence": MoreEvidence(labelled=foreign)}):
        with pytest.raises(BadInput, match="the two models have different classes"):
            repair_answers(BEFORE, AFTER, **more)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"held_out": 1.0}, "between 0 and 1; given: 1.0"),
        ({"mix": 1.5}, "between 0 and 1; given: 1.5"),
        ({"mix": float("nan")}, "between 0 and 1; given: nan"),
        ({"class_shifts": 2}, "between 0 and 1; given: 2"),
        ({"prefer": "old"}, "no preference called 'old'; there are: balanced, seen, absent"),
        ({"select": "rate-matching"}, "needs rows of the target domain"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(choices: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        repair_answers(BEFORE, AFTER, Choices(**choices))


def in_groups(size: int, names: str = "", start: int = 0):
    """Rows in groups of so many, the first called `start`."""
    called = tuple(f"{names}{number}" for number in range(1200)) if names else ()
    return lambda rows: replace(rows, groups=start + torch.arange(len(rows)) // size, group_names=called)


def test_rows_of_one_group_do_not_both_choose_and_report() -> None:
    report, chooses = pair(n=90, seed=5), both(in_groups(2))
    with pytest.raises(BadInput, match=r"8 groups have rows that choose, in `after`, .* in `report`: 0, 1, 2"):
        repair_answers(*chooses, report=both(in_groups(10), report))
    with pytest.raises(BadInput, match="8 groups have rows that choose"):
        repair_answers(BEFORE, chooses[1], report=(in_groups(10)(report[0]), report[1]))
    other = repair_answers(*chooses, report=both(in_groups(10, start=900), report))
    called = both(in_groups(2, "p"))
    assert chosen(repair_answers(*called, report=both(in_groups(10, "q"), report))) == chosen(other)
    with pytest.raises(BadInput, match=r"8 groups .*: p0, p1, p2"):
        repair_answers(*called, report=both(in_groups(10, "p"), report))


def test_labelled_rows_without_a_name_are_called_what_they_are() -> None:
    labelled = pair(n=300, seed=4)
    for split, name in (("", "labelled rows"), ("more", "more")):
        more = MoreEvidence(labelled=both(lambda rows, split=split: replace(rows, split=split), labelled))
        done = repair_answers(BEFORE, AFTER, Choices(select="labelled", class_shifts=0, mix=1.0), evidence=more)
        assert done.offset.fitted.details["split"] == name


def test_labelled_rows_must_have_labels() -> None:
    bare = MoreEvidence(labelled=both(lambda rows: rows.unlabelled()))
    with pytest.raises(BadInput, match="labels"):
        repair_answers(BEFORE, AFTER, Choices(select="labelled"), evidence=bare)


# --- the story


def test_it_tells_what_it_did() -> None:
    told = dict(sentences(DONE))
    assert list(told) == ["Mixing", "Offset", "Classes", "Guarantee"]
    share = f"{1 - DONE.alpha:.0%} of the logarithmic probabilities are the pretrained model's: "
    assert told["Mixing"] == f"{share}{DONE.mix.reason}."
    assert told["Offset"].startswith(f"{DONE.offset.offset:.2f} added to the logits of absent classes, by auto: ")
    shifts = dict(zip(DONE.offset.shifts, DONE.offset.fitted.classes, strict=True))
    for shift in (min(shifts), max(shifts)):
        assert f"{shift:+.2f} ({shifts[shift]})" in told["Classes"]
    assert told["Guarantee"] == f"{DONE.offset.guarantee}."


def test_it_tells_what_it_did_not_do() -> None:
    told = dict(sentences(repair_answers(BEFORE, AFTER, Choices(class_shifts=0, prefer="balanced"))))
    assert "Classes" not in told and told["Guarantee"] == "none."


def test_it_tells_what_cannot_be_measured() -> None:
    alone = both(lambda rows: rows.seen_rows())
    done = repair_answers(*alone)
    limits = dict(sentences(done))["Limits"]
    absent = next(tried.absent for tried in done.mix.tried if tried.alpha == done.alpha)
    assert "the absent accuracy cannot be measured, only estimated" in limits and f"{absent:.1%} (95 %" in limits
    given = dict(sentences(repair_answers(*alone, Choices(mix=0.5))))["Limits"]
    assert given.endswith("only estimated.")
