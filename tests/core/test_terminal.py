"""The terminal: markup as it is written, and nothing that it or a reader's eye obeys."""

import json
import sys
import unicodedata

import pytest
from rich.table import Table

from reclaim.core.terminal import console, in_json, printable, say

HOSTILE = ["\x1b[31mred", "a\x9b31mb", "bell\x07", "a\u202eb", "a\u2066b\u2069", "a\rb", "half\ud800", "byte\udcff"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_is_obeyed_is_printed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console().print(text)
    console().print(table)
    say(text)
    seen = "".join(capsys.readouterr())
    assert not [letter for letter in seen if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cs")]
    assert not {"\u202e", "\u2066", "\u2069"} & set(seen)


def test_what_is_hidden_is_written_out() -> None:
    assert printable("\x1b[31m\u202e\udcff\ud800") == "\\x1b[31m\\u202e\\xff\\ud800"
    for kept in (
        "zwei Zeilen\nund\tein Tab",
        "日本語",
        "é",
        "می\u200cخواهم",
        "👩\u200d👧",
    ):
        assert printable(kept) == kept


@pytest.mark.parametrize("text", ["a[red]b", "[/b]", "[link=x]y[/link]", ":smile:", "[bold", "[1, 2]"])
def test_markup_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console().print(text)
    console().print(table)
    assert capsys.readouterr().out.count(text) == 4


def test_json_reads_as_what_was_given_and_holds_nothing_that_is_obeyed() -> None:
    every = "x".join(map(chr, range(sys.maxunicode + 1)))
    made = in_json({"name": every})
    assert json.loads(made) == {"name": every}
    assert not [letter for letter in made if unicodedata.category(letter) in ("Cc", "Cs")] and "\u202e" not in made
