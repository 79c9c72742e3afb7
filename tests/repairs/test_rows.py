"""Which rows choose, which certify and which report."""

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.records import Data, Split
from reclaim.repairs.choices import Choices
from reclaim.repairs.rows import divide, hold_out
from tests import toys
from tests.repairs.conftest import TARGET


def rows(n: int, classes: list[int]) -> Split:
    return Split(torch.tensor([classes[i % len(classes)] for i in range(n)]), lambda i: i, str)


def test_val_chooses_and_test_reports() -> None:
    chooses, reports = hold_out(TARGET)
    assert bool(TARGET.seen[chooses.labels].all()) and len(reports) == len(TARGET.split("test"))


def test_a_single_split_is_divided_without_overlap() -> None:
    data = Data(toys.CLASSES, {"train": rows(9, [0, 2, 3]), "all": rows(100, [0, 1, 2, 3, 4])}, toys.SEEN, "x")
    chooses, reports = hold_out(data, Choices(held_out=0.4, seed=3))
    first, second = ({split.read(i) for i in range(len(split))} for split in (chooses, reports))
    assert not first & second and len(second) == 60
    assert bool(toys.SEEN[chooses.labels].all()) and 15 < len(chooses) < 35
    others = {hold_out(data, Choices(held_out=0.4, seed=seed))[0].read(0) for seed in (4, 5)}
    assert others != {chooses.read(0)}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": rows(9, [0])}, "was not trained on, and x has the splits train"),
        ({"val": rows(9, [1, 4]), "test": rows(9, [0])}, "leaves 0 held-out rows of seen classes"),
        ({"all": rows(2, [0])}, "at least 2 and 1 are needed"),
    ],
)
def test_without_rows_to_choose_with_it_refuses(splits: dict[str, Split], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        divide(Data(toys.CLASSES, splits, toys.SEEN, "x"))
    with pytest.raises(BadInput, match="between 0 and 1"):
        Choices(held_out=1.0)


def read(split: Split) -> list[int]:
    return [split.read(i) for i in range(len(split))]


def test_of_many_held_out_rows_one_half_chooses_and_the_other_certifies() -> None:
    data = Data(toys.CLASSES, {"val": rows(400, [0, 2, 3, 4]), "test": rows(9, [0, 4])}, toys.SEEN, "x")
    made = divide(data)
    choose, certify = set(read(made.choose.split)), set(read(made.certify.split))
    assert made.separate_rows and not choose & certify and choose | certify == set(read(made.held_out.split))
    assert len(choose) == len(certify) == 150 and read(made.report.split) == list(range(9))
    for choices in (Choices(prefer="seen"), Choices(mix=1.0, class_shifts=0)):
        made = divide(data, choices)
        assert not made.separate_rows and read(made.choose.split) == read(made.held_out.split)


def test_of_few_all_do_both() -> None:
    data = Data(toys.CLASSES, {"val": rows(199, [0, 2, 3]), "test": rows(9, [0])}, toys.SEEN, "x")
    assert not divide(data).separate_rows


def in_groups(split: Split, size: int) -> Split:
    return Split(split.labels, split.read, split.name, torch.arange(len(split)) // size)


def test_no_group_is_on_two_sides() -> None:
    data = Data(toys.CLASSES, {"all": in_groups(rows(3000, [0, 1, 2, 3, 4]), 5)}, toys.SEEN, "x")
    for seed in range(5):
        made = divide(data, Choices(seed=seed))
        assert made.separate_rows
        choose, certify, report = (set(part.groups.tolist()) for part in (made.choose, made.certify, made.report))
        assert not choose & certify and not choose & report and not certify & report
        assert len(choose) + len(certify) + len(report) == 600
    again = divide(data, Choices(seed=4))
    assert read(again.choose.split) == read(made.choose.split)


def test_it_takes_many_groups_to_separate_rows() -> None:
    few = Data(toys.CLASSES, {"val": in_groups(rows(4000, [0, 2, 3]), 100), "test": rows(9, [0])}, toys.SEEN, "x")
    assert not divide(few).separate_rows


def test_a_group_that_would_choose_and_report_is_named() -> None:
    splits = {"val": in_groups(rows(30, [0, 2]), 3), "test": in_groups(rows(9, [0, 1]), 3)}
    with pytest.raises(BadInput, match=r"3 groups have rows that choose, in \"val\", and .* in \"test\": 0, 1, 2"):
        divide(Data(toys.CLASSES, splits, toys.SEEN, "x"))
