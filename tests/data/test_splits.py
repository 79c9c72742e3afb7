"""Names of splits and classes: what they are called, their order, and those that look alike."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclaim.core.errors import BadInput, look_alike
from reclaim.data.splits import check_alike, in_order, one_name_each, split_called

NUMBERS = st.lists(st.integers(0, 10**6), unique=True, min_size=1)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["train", "Training", "TRAIN", "train-set", "Train Set"]),
        ("val", ["val", "valid", "Validation", "dev"]),
        ("test", ["test", "Testing", "TESTING", "test_set"]),
        (None, ["tests", "training2", "eval", "a", "", "other", "tra in"]),
    ],
)
def test_a_split_is_known_by_any_of_its_names(split: str | None, names: list[str]) -> None:
    assert [split_called(name) for name in names] == [split] * len(names)


def test_two_names_for_one_split_are_refused() -> None:
    assert one_name_each(["Training", "cat", "val"], "x") == {"train": "Training", "val": "val"}
    with pytest.raises(BadInput, match=r"photos has two names for the split 'val': 'val' and 'valid'"):
        one_name_each(["val", "train", "valid"], "photos")


@given(NUMBERS)
def test_numbers_come_in_the_order_of_numbers(numbers: list[int]) -> None:
    assert in_order(map(str, numbers)) == tuple(map(str, sorted(numbers)))


@given(NUMBERS, st.text(min_size=1).filter(lambda name: not name.isdigit()))
def test_one_name_that_is_no_number_makes_the_order_alphabetical(numbers: list[int], name: str) -> None:
    names = {*map(str, numbers), name}
    assert in_order(names) == tuple(sorted(names))


def test_zeros_in_front_do_not_count() -> None:
    assert in_order(["10", "007", "0", "100", "08"]) == ("0", "007", "08", "10", "100")


def test_digits_of_other_scripts_are_no_numbers() -> None:
    assert in_order(["10", "9", "²"]) == ("10", "9", "²") and in_order(["٣", "2"]) == ("2", "٣")


@given(st.text(min_size=1))
def test_forms_of_one_name_look_alike(name: str) -> None:
    for form in ("NFC", "NFD"):
        assert look_alike(unicodedata.normalize(form, name)) == look_alike(name)
    assert look_alike(f" {name}  ") == look_alike(name) == look_alike(f"{name}\u200b")


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        ("caf\u00e9", "cafe\u0301", "form of Unicode"),
        ("cat", "\uff43at", "form of Unicode"),
        ("cat", "cat ", "blanks"),
        ("cat", "Cat", "upper and lower case"),
        ("7", "007", "leading zeros"),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_names_that_look_alike_are_refused(first: str, second: str, how: str, together: bool) -> None:
    places = {"train/": [first, "dog"], "val/": [second, "dog"]} | ({"test/": [first, second]} if together else {})
    own = how == "upper and lower case" or second == "\uff43at"
    if together and own:  # such letters are classes of their own where one folder has both
        check_alike(places)
        return
    with pytest.raises(BadInput, match=how) as refused:
        check_alike(places)
    assert ascii(first) in str(refused.value) and ascii(second) in str(refused.value)
    check_alike({"train/": [first, "dog"], "val/": [first, "bee"]})
