"""Which of the names that there are one was meant to be."""

import itertools

import pytest

from reclaim.core.errors import meant
from reclaim.core.nearest import edits, nearest


def by_hand(a: str, b: str) -> int:
    """The recursion of the definition."""
    if not a or not b:
        return len(a) + len(b)
    ways = [by_hand(a[1:], b) + 1, by_hand(a, b[1:]) + 1, by_hand(a[1:], b[1:]) + (a[0] != b[0])]
    if len(a) > 1 and len(b) > 1 and (a[0], a[1]) == (b[1], b[0]):
        ways.append(by_hand(a[2:], b[2:]) + 1)
    return min(ways)


def test_edits_are_those_of_the_definition() -> None:
    words = ["".join(letters) for n in range(5) for letters in itertools.product("ab", repeat=n)] + [
        "abc",
        "cab",
        "bca",
    ]
    assert all(edits(a, b) == by_hand(a, b) for a in words for b in words)


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("--modle", ["--mode", "--model", "--seed"], ["--model", "--mode"]),
        ("--dta", ["--device", "--data"], ["--data"]),
        ("optimser", ["optimiser", "optimizer"], ["optimiser", "optimizer"]),
        ("zzz", ["aaa"], []),
    ],
)
def test_letters_that_changed_places_are_one_edit_and_length_decides_a_tie(word, known, expected) -> None:
    assert nearest(word, known, most=5) == expected and nearest(word, known) == expected[:1]


def test_names_of_classes_that_do_not_match_are_shown_with_the_nearest_and_those_alike_to_the_eye() -> None:
    told = meant(["aunt", "caf\u00e9", "x"], ["ant", "cafe\u0301", "dog"])
    assert told == (
        "\n  Alike to the eye, but not the same name: 'caf\\xe9' and 'cafe\\u0301' (the form of Unicode)."
        "\n  Closest: 'aunt' and 'ant'."
    )
    assert meant(["x"], ["dog"]) == ""
