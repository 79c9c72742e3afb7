"""Tables for people, letter by letter."""

from dataclasses import replace

import pytest
import torch

from reclaim.cli.tables import accuracy_table, mixing_table, numbers_table, percent
from reclaim.papers.table import Cell, Table
from reclaim.repairs.alpha import ChosenAlpha, Tried
from reclaim.report.evaluate import evaluate
from tests import toys


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """What a table prints, on a page of some width, without blanks at the ends."""

    def printed(table, *arguments: object, width: int = 200, **more: object) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        table(*arguments, **more)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return printed


def test_a_share_is_in_per_cent_and_what_is_not_known_is_a_dash() -> None:
    assert [percent(value) for value in (None, 0.0, 0.12345, 1.0)] == ["–", "0.0", "12.3", "100.0"]


def test_accuracies_stand_in_the_order_of_their_columns(lines) -> None:
    rows = evaluate(toys.snapshot())
    a = rows.accuracy
    shown = [f"{100 * x:.1f}" for x in (a.all, a.seen, a.absent, a.seen_among_seen, a.absent_among_absent)]
    alone = evaluate(replace(toys.snapshot(), seen=torch.ones(7, dtype=torch.bool)))
    made = lines(accuracy_table, {"one": rows, "a longer one": alone}, title="rows")
    assert made[0] == "rows"
    columns = ("all", "seen", "absent", "seen among seen", "absent among absent", "area")
    assert " ".join(made[1].split()) == " ".join(("accuracy, %", *columns))
    assert made[2].split() == ["one", *shown, f"{rows.tradeoff.area:.3f}"]
    assert made[3].split()[-1] == "–" and made[3].startswith("a longer one  ") and len(made) == 4
    assert made[1].index("all") + 3 == made[2].index(shown[0]) + len(
        shown[0]
    )  # numbers end where their column's name does
    assert lines(accuracy_table, {"one": rows})[0].startswith("accuracy, %")
    narrow = lines(accuracy_table, {"a name of many words that is broken": rows}, width=80)
    assert len(narrow) > 2 and all(len(line) <= 80 for line in narrow)
    assert narrow[-1].split()[-1] == made[2].split()[-1] or any(f"{rows.tradeoff.area:.3f}" in line for line in narrow)


def tried(alpha: float, *, allowed: bool = True) -> Tried:
    return Tried(alpha=alpha, offset=1.234, seen=0.5, absent=0.25, all=0.4, allowed=allowed)


def test_every_alpha_says_whether_it_was_taken_and_what_preferences_would_take(lines) -> None:
    first, second, third = tried(0.25), tried(0.5, allowed=False), tried(0.75)
    mix = ChosenAlpha(
        alpha=0.75, reason="", tried=(first, second, third), rows=9, preferences={"seen": third, "absent": first}
    )
    made = lines(mixing_table, mix)
    numbers = ["1.23", "50.0", "25.0", "40.0"]
    assert made[0] == "by alpha (absent, all: estimated)"
    assert made[1].split() == ["alpha", "offset", "seen,", "%", "absent,", "%", "all,", "%"]
    assert [line.split() for line in made[2:]] == [
        ["0.25", *numbers],
        ["0.5", *numbers, "over", "the", "budget"],
        ["0.75", *numbers, "taken"],
        [],
        ["0.75", *numbers, "by", "--prefer", "seen"],
        ["0.25", *numbers, "by", "--prefer", "absent"],
    ]
    assert made[2].startswith(" 0.25") and made[4].index("taken") == made[3].index("over")
    assert lines(mixing_table, replace(mix, estimated=False))[0] == "by alpha (on the labelled rows)"


def test_an_experiments_rows_have_the_printed_ones_below_them(lines) -> None:
    rows = {"ours": [Cell(1.0, 0.5), Cell(None)], "other": [Cell(2.0)]}
    made = lines(numbers_table, Table("what", "in %", ("all", "seen"), rows, {"ours": (1.25, 33.0)}))
    assert [" ".join(line.split()) for line in made] == [
        "what", "in % all seen", "ours 1.0 ± 0.5 –", "printed 1.2 33.0", "other 2.0"
    ]  # fmt: skip
    assert made[3].startswith("  printed") and made[1].index("all") + 3 == made[2].index("±") + 5
    assert lines(numbers_table, Table("", "in %", ("all",), {"a": [Cell(1.0)]}))[0].startswith("in %")
