"""Which rows choose, certify and report: bounds, groups, names, and the documented defaults."""

import logging
from dataclasses import replace
from itertools import product

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.division import divided
from reclaim.data.records import Data, Split
from reclaim.data.report import Report
from reclaim.repairs.choices import Choices
from reclaim.repairs.rows import (
    Both,
    MoreEvidence,
    Part,
    check_apart,
    check_enough,
    divide,
    divide_rows,
    for_statistics,
    halved,
    hold_out,
    one_split,
    separates,
)
from tests import toys
from tests.repairs.test_rows import in_groups, read, rows


def data(**splits: Split) -> Data:
    return Data(toys.CLASSES, splits, toys.SEEN, "x")


def part(n: int, size: int = 1) -> Part:
    split = rows(n, [0, 2, 3])
    return Part(data(), in_groups(split, size) if size > 1 else split, "some")


# --- choices


def test_the_defaults_of_a_repair_are_the_documented_ones() -> None:
    said = {"mix": "auto", "select": "auto", "numbers": {}, "prefer": None, "class_shifts": 0.5, "held_out": 0.5}
    assert vars(Choices()) == said | {"seed": 0}
    for prefer in ("balanced", "seen", "absent"):
        assert Choices(prefer=prefer).prefer == prefer
    with pytest.raises(BadInput, match="no preference called 'both'; there are: balanced, seen, absent"):
        Choices(prefer="both")  # type: ignore[arg-type]


# --- halves


@pytest.mark.parametrize("mix", ["auto", 0.0, 0.5, 1.0])
def test_rows_are_separated_where_there_are_enough_and_something_else_is_chosen(mix) -> None:
    for strength, prefer, n in product((0.0, 1e-3, 0.5, 1.0), (None, "balanced", "seen"), (2, 199, 200, 201)):
        expected = n >= 200 and prefer is None and (mix == "auto" or strength != 0)
        assert separates(n, Choices(mix=mix, class_shifts=strength, prefer=prefer)) == expected


@pytest.mark.parametrize("size", [1, 3])
def test_from_200_rows_or_groups_one_half_certifies_what_the_other_chose(size: int) -> None:
    for units, apart in ((199, False), (200, True)):
        held_out, report = part(units * size, size), part(5)
        made = halved(held_out, report, Choices(seed=7))
        assert made.held_out is held_out and made.separate_rows == apart
        assert (made.choose.name, made.report.name) == ("mix rows", "report rows") and len(made.report) == 5
        if not apart:
            assert made.certify is made.choose and read(made.choose.split) == list(range(units * size))
            continue
        assert made.certify.name == "offset rows"
        # by the definition: half of the rows, drawn with the next seed, so that no draw is that of the report rows
        first, second = divided(units * size, units * size // 2, 8, held_out.groups)
        assert (read(made.choose.split), read(made.certify.split)) == (first.tolist(), second.tolist())
        assert len(made.choose) == len(made.certify) == units * size // 2


def test_answers_keep_the_name_of_what_they_serve_for() -> None:
    pair = Both(toys.snapshot(402, sunk=0.0, split="val"), toys.snapshot(402, split="val"))
    made = halved(pair, pair.rows(slice(9)), Choices())
    names = {"choose": "mix rows", "certify": "offset rows", "report": "report rows", "held_out": "val"}
    for field, name in names.items():
        both = vars(made)[field]
        assert both.before.split == both.after.split == name
        assert torch.equal(both.before.labels, both.after.labels) and len(both) == len(both.before)
    thin = pair.thinned(100)
    assert len(thin) == len(thin.before) == 81 and torch.equal(thin.after.logits, pair.after.logits[::5])


# --- what is held out


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_share_of_a_split_is_held_out(share: float) -> None:
    whole = rows(100, [0, 1, 2, 3, 4])
    held_out, report = divide_rows(whole, toys.SEEN[whole.labels], Choices(held_out=share, seed=3))
    first, rest = divided(100, round(share * 100), 3)
    assert read(report) == rest.tolist() and len(report) == round(100 - share * 100)
    assert read(held_out) == [i for i in first.tolist() if i % 5 in (0, 2, 3)]
    again = divide_rows(whole, toys.SEEN[whole.labels], Choices(held_out=share))[1]
    assert read(again) == divided(100, round(share * 100), 0)[1].tolist()


def numbered(name: str, n: int = 40) -> Split:
    return replace(rows(n, [0, 1]), read=lambda i: (name, i))


def test_which_splits_serve() -> None:
    for names in (("val", "test"), ("train", "val", "test"), ("more", "val", "test", "all")):
        held_out, report = hold_out(data(**{name: numbered(name) for name in names}))
        assert read(held_out) == [("val", i) for i in range(0, 40, 2)]
        assert read(report) == [("test", i) for i in range(40)]
    for names in (("val",), ("train", "more"), ("test", "train")):
        held_out, report = hold_out(data(**{name: numbered(name) for name in names}))
        kept = next(name for name in names if name != "train")
        assert {name for name, _ in (*read(held_out), *read(report))} == {kept} and len(report) == 20
    for names in ((), ("train",), ("val", "more"), ("train", "test", "more")):
        with pytest.raises(BadInput, match=f"x has the splits {', '.join(names)}"):
            hold_out(data(**{name: numbered(name) for name in names}))


def test_training_rows_measure_statistics_and_else_the_held_out_ones() -> None:
    for names, expected in ((("val", "test"), "val"), (("train", "val", "test"), "train")):
        given = data(**{name: numbered(name, 10) for name in names})
        assert read(for_statistics(given, divide(given))) == [(expected, i) for i in (0, 2, 4, 6, 8)]


def test_more_evidence_is_its_first_split_by_rank() -> None:
    own = {name: rows(n, [0]) for n, name in enumerate(("more", "train", "test", "val"), 3)}
    for names in (("more", "train", "test", "val"), ("more", "train", "test"), ("more", "train"), ("more",)):
        made = one_split(data(**{name: own[name] for name in names}))
        assert made.name == names[-1] and len(made) == len(own[names[-1]]) and made.data.splits.keys() == set(names)


def test_more_evidence_is_changed_kind_by_kind() -> None:
    made = MoreEvidence(1, None, 3).map(lambda n: 10 * n)
    assert made == MoreEvidence(unlabelled=10, source=None, labelled=30)
    assert MoreEvidence(source=2).map(str) == MoreEvidence(source="2") and MoreEvidence().map(str) == MoreEvidence()


# --- what is refused


def test_two_rows_to_choose_with_and_one_to_report_on_are_enough() -> None:
    check_enough(2, 1, "x")
    for held_out, report in ((1, 1), (0, 9), (2, 0), (9, 0)):
        with pytest.raises(BadInput, match=f"^x leaves {held_out} held-out rows .* and {report} rows to report on; "):
            check_enough(held_out, report, "x")


def group(*groups: int, names: str = "") -> Split:
    return replace(rows(len(groups), [0]), groups=torch.tensor(groups), group_names=tuple(names))


@pytest.mark.parametrize(
    ("held_out", "report", "both"),
    [
        (group(0, 0, 1), group(1, 2), "1 groups have .*: 1\\."),
        (group(0, 1, 2), group(2, 1, 3), "2 groups have .*: 1, 2\\."),
        (group(0, 1, names="pq"), group(0, 1, names="rs"), None),  # by name, whatever their numbers
        (group(0, 1, names="pq"), group(0, 1, names="qr"), "1 groups have .*: q\\."),
        (group(0, 1), group(1, 2, names="pqr"), "1 groups have .*: q\\."),  # by number, and named
        (group(0, 1, names="pq"), group(1, 2), "1 groups have .*: 1\\."),
        (group(0, 1), group(2, 3), None),
        (group(0, 1), rows(3, [0]), None),
        (rows(3, [0]), group(0, 1), None),
        (rows(3, [0]), rows(3, [0]), None),
    ],
)
def test_rows_of_one_group_do_not_choose_and_report(held_out: Split, report: Split, both: str | None) -> None:
    if both is None:
        check_apart(held_out, report)
        return
    with pytest.raises(BadInput, match=both):
        check_apart(held_out, report)
    with pytest.raises(BadInput, match=r'that choose, in "val", and rows that report, in "test"(.|\n)*into one split'):
        check_apart(held_out, report)
    with pytest.raises(BadInput, match=r"that choose, here, and rows that report, there(.|\n)*Do better"):
        check_apart(held_out, report, ("here", "there"), "Do better.")


def test_groups_that_training_rows_share_are_said_unless_the_data_say_so_themselves(caplog) -> None:
    shared = data(train=group(0, 1), val=group(1, 2, 2), test=group(3, 3))
    with caplog.at_level(logging.WARNING):
        hold_out(shared)
        assert "1 groups have rows in train and in the rows held out (1): a model may be too sure" in caplog.text
        caplog.clear()
        hold_out(replace(shared, report=Report({})))
        hold_out(data(val=group(1, 2, 2), test=group(3, 3)))
        assert not caplog.text
