"""The folder is the registry."""

import subprocess
import sys

import pytest

from reclaim.core.errors import BadInput
from reclaim.core.registry import FAMILIES, describe, find, names


def test_every_method_is_found_and_says_what_it_does_and_where_it_comes_from() -> None:
    for family in FAMILIES:
        assert names(family)
        for name in names(family):
            assert callable(find(family, name))
            method = describe(family, name)
            assert len(method.summary) > 10 and method.source, (family, name)
            assert set(method.help) >= set(method.numbers), f"{family}/{name} leaves an argument unexplained"


def test_its_own_numbers_are_read_with_types_and_defaults() -> None:
    numbers = describe("selectors", "retention-budget").numbers
    assert (numbers["budget"].annotation, numbers["budget"].default) == (float, 0.05)
    assert (numbers["confidence"].annotation, numbers["confidence"].default) == (float | None, None)


def test_listing_and_describing_import_no_torch() -> None:
    code = (
        "import sys; from reclaim.core.registry import *\n"
        "for f in FAMILIES:\n  for n in names(f): describe(f, n)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"no recipe called 'lpft'; there are: fine-tune, .*Did you mean 'lp-ft'\?"):
        find("recipes", "lpft")
    with pytest.raises(BadInput, match="no diagnosis called"):
        find("diagnoses", "x")
