"""Names: of splits, whatever they are called, and of classes, in one order and none of them like another."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping

from reclaim.core.errors import BadInput, difference, few, look_alike

__all__ = ["SPLITS", "check_alike", "in_order", "one_name_each", "split_called"]

_CALLED = {
    "train": "train training trainset train_set training_set",
    "val": "val valid validation validate dev valset val_set validset valid_set dev_set validation_set validationset",
    "test": "test testing testset test_set testing_set",
}
SPLITS = {name: split for split, names in _CALLED.items() for name in names.split()}


def split_called(name: str) -> str | None:
    """The split that is called so: "train", "val" or "test"; None for any other name. Case and hyphens do not count."""
    return SPLITS.get(name.strip().casefold().replace("-", "_").replace(" ", "_"))


def one_name_each(names: Iterable[str], where: str) -> dict[str, str]:
    """The name under which each known split goes.

    Raises: BadInput if two of them are one split.
    """
    found: dict[str, str] = {}
    for name in names:
        split = split_called(name)
        if split is not None and found.setdefault(split, name) != name:
            raise BadInput(
                f"{where} has two names for the split {split!r}: {found[split]!r} and {name!r}.\n"
                "  Keep one of them, or put their examples together."
            )
    return found


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names in alphabetical order; as numbers, 0, 1, 2, 10, where all of them are whole numbers."""
    all_of_them = set(names)
    if all(name.isascii() and name.isdigit() for name in all_of_them):
        return tuple(sorted(all_of_them, key=_by_number))
    return tuple(sorted(all_of_them))


def _by_number(name: str) -> tuple[int, str]:
    return len(name.lstrip("0")), name.lstrip("0")


def check_alike(places: Mapping[str, Collection[str]]) -> None:
    """Raise if names of classes look alike and are none the less different.

    Names that differ by case alone are two classes where one place has both of them, as letters may; everything else
    that looks alike is taken for an accident of unpacking or typing.

    Args:
        places: the names in each place, such as a split.
    """
    found: dict[str, dict[str, str]] = {}
    for place, names in places.items():
        for name in names:
            found.setdefault(look_alike(name), {}).setdefault(name, place)
    for spellings in found.values():
        if len(spellings) > 1 and not _told_apart(set(spellings), places):
            shown = few([f"{name!a} in {place}" for name, place in spellings.items()])
            raise BadInput(
                f"names of classes look alike and are not the same: {shown}.\n"
                f"  They differ by {difference(*list(spellings)[:2])}. Give one class one name everywhere."
            )


def _told_apart(spellings: set[str], places: Mapping[str, Collection[str]]) -> bool:
    """Whether they differ by case alone, and one place has all of them."""
    plain = {" ".join(unicodedata.normalize("NFC", name).split()) for name in spellings}
    only_case = len(plain) == len(spellings) and plain == spellings
    digits = any(name.isdigit() for name in spellings)
    return only_case and not digits and any(spellings <= set(names) for names in places.values())
