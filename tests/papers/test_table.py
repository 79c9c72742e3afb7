"""Tables of experiments: means, spreads, and printed rows beside ours."""

import statistics

import pytest

from reclaim.cli.tables import numbers_table
from reclaim.papers.table import Cell, Table, averaged


def test_a_cell_is_the_mean_and_the_standard_deviation_of_the_parts() -> None:
    parts = [{"row": [1.0, 5.0]}, {"row": [2.0, None]}, {"row": [6.0, 7.0]}]
    first, second = averaged(parts)["row"]
    assert first == Cell(3.0, statistics.stdev([1.0, 2.0, 6.0]))
    assert second == Cell(None), "what one part could not measure has no mean"
    assert averaged(parts[:1])["row"] == [Cell(1.0), Cell(5.0)]


@pytest.mark.parametrize(("cell", "text"), [(Cell(3.0, 0.25), "3.0 ± 0.2"), (Cell(3.04), "3.0"), (Cell(None), "–")])
def test_a_cell_is_printed_with_one_digit(cell: Cell, text: str) -> None:
    assert str(cell) == text


def test_a_printed_row_stands_below_ours(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"ours alone": [Cell(1.0)], "both": [Cell(2.0), Cell(3.0, 1.0)]}
    numbers_table(Table("title", "accuracy, %", ("one", "two"), rows, printed={"both": [2.5, None]}))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["title"],
        ["accuracy,", "%", "one", "two"],
        ["ours", "alone", "1.0"],
        ["both", "2.0", "3.0", "±", "1.0"],
        ["printed", "2.5", "–"],
    ]
