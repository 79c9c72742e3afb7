"""An experiment runs part by part, and each part once."""

from pathlib import Path

import pytest

from reclaim.core.errors import BadInput
from reclaim.papers.run import Experiment, Setting, run
from reclaim.papers.table import Rows, Table, averaged


class Counting:
    """Parts that count how often each of them ran; one may fail."""

    def __init__(self, broken: str = "", name: str = "counting") -> None:
        self.ran: list[str] = []
        self.broken, self.name = broken, name

    def part(self, name: str) -> Rows:
        if name == self.broken:
            raise KeyboardInterrupt
        self.ran.append(name)
        return {"row": [float(ord(name)), None]}

    def experiment(self) -> Experiment:
        parts = {name: lambda name=name: self.part(name) for name in "abc"}
        return Experiment(self.name, parts, lambda rows: Table("t", "x", ("one", "two"), averaged(rows)), seconds=30)


def test_a_run_that_was_stopped_goes_on_with_the_parts_that_are_missing(tmp_path: Path) -> None:
    stopped, again = Counting(broken="c"), Counting()
    with pytest.raises(KeyboardInterrupt):
        run(stopped.experiment(), Setting(), tmp_path)
    table = run(again.experiment(), Setting(), tmp_path)
    assert stopped.ran == ["a", "b"] and again.ran == ["c"]
    assert table == run(Counting().experiment(), Setting())
    assert table.rows["row"][0].mean == ord("b") and table.rows["row"][1].mean is None


def test_parts_of_another_setting_are_not_taken(tmp_path: Path) -> None:
    run(Counting().experiment(), Setting("quick"), tmp_path)
    for setting in (Setting("full"), Setting("full", tmp_path)):
        again = Counting()
        run(again.experiment(), setting, tmp_path)
        assert again.ran == ["a", "b", "c"]


def test_parts_of_another_entry_are_not_taken(tmp_path: Path) -> None:
    run(Counting().experiment(), Setting(), tmp_path)
    other = Counting(name="other")
    run(other.experiment(), Setting(), tmp_path)
    assert other.ran == ["a", "b", "c"]


def test_the_estimate_is_in_seconds_and_then_in_minutes() -> None:
    assert Counting().experiment().estimate == "90 seconds"
    assert Experiment("x", dict.fromkeys("ab", dict), lambda rows: rows, seconds=90).estimate == "3 minutes"


def test_an_entry_that_needs_data_says_so(tmp_path: Path) -> None:
    assert Setting(root=tmp_path).folder() == tmp_path
    with pytest.raises(BadInput, match="root="):
        Setting().folder()
    with pytest.raises(BadInput, match="no folder"):
        Setting(root=tmp_path / "nowhere").folder()
