"""What every entry of `papers/published/` does: it says how to run it, and a small run of it fills its table."""

import importlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from reclaim.core.registry import describe, find, names
from reclaim.papers.run import Experiment, Setting, run
from reclaim.papers.table import Table

pytestmark = pytest.mark.parametrize("name", names("papers"))


def test_it_states_its_command_its_source_and_what_it_needs(name: str) -> None:
    about = describe("papers", name)
    assert about.summary and about.source and about.needs
    file = importlib.import_module(find("papers", name).__module__)
    assert f"\n    reclaim paper {name}" in (file.__doc__ or "")


def numbers(table: Table) -> Iterator[float]:
    for cells in table.rows.values():
        yield from (cell.mean for cell in cells if cell.mean is not None)


def test_a_smoke_run_fills_the_table_without_any_data_at_hand(name: str, tmp_path: Path) -> None:
    setting = Setting("smoke")
    experiment: Experiment = find("papers", name)(setting)
    table = run(experiment, setting, tmp_path)
    found = list(numbers(table))
    assert found and all(map(math.isfinite, found))
    assert {path.stem for path in tmp_path.iterdir()} == set(experiment.parts)
    assert all(len(cells) <= len(table.columns) for cells in table.rows.values())
    assert set(table.printed) <= set(table.rows)
    assert all(len(row) == len(table.columns) for row in table.printed.values())


def test_larger_runs_have_at_least_the_parts_of_smaller_ones(name: str, tmp_path: Path) -> None:
    smoke, quick, full = (find("papers", name)(Setting(size, tmp_path)) for size in ("smoke", "quick", "full"))
    assert len(smoke.parts) <= len(quick.parts) <= len(full.parts)
    assert smoke.seconds * len(smoke.parts) <= 10
