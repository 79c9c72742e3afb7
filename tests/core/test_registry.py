"""The folder is the registry."""

import subprocess
import sys
from pathlib import Path

import pytest

from reclaim.core.errors import BadInput
from reclaim.core.numbers import InnerShare
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
    assert (numbers["budget"].annotation, numbers["budget"].default) == (InnerShare, 0.05)
    assert (numbers["confidence"].annotation, numbers["confidence"].default) == (InnerShare | None, None)


def test_listing_and_describing_import_no_torch() -> None:
    code = (
        "import sys; from reclaim.core.registry import *\n"
        "for f in FAMILIES:\n  for n in names(f): describe(f, n)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_was_renamed_is_found_by_its_former_name_and_not_listed(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "larger.py").write_text(
        "FORMERLY = {'larger': 'bolder', 'alpha': 'weight'}\n"
        "def larger(*, alpha: float = 0.5, mode: str = 'a') -> None:\n    'The larger one.'\n"
    )
    monkeypatch.setitem(FAMILIES, "toys", str(tmp_path))  # an absolute path is a folder of its own
    method = describe("toys", "bolder")
    assert (method.name, method.formerly, names("toys")) == ("larger", {"alpha": "weight"}, ["larger"])
    assert method.renamed({"weight": 0.3, "mode": "b"}) == {"alpha": 0.3, "mode": "b"}
    with pytest.raises(BadInput, match="no toy called 'weight'; there are: larger"):
        describe("toys", "weight")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"no recipe called 'lpft'; there are: fine-tune, .*Did you mean 'lp-ft'\?"):
        find("recipes", "lpft")
    with pytest.raises(BadInput, match="no diagnosis called"):
        find("diagnoses", "x")
