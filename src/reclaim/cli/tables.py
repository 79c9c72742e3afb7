"""Numbers as tables for people."""

from collections.abc import Mapping

from rich.table import Table

from reclaim.core.terminal import console
from reclaim.papers.table import Cell
from reclaim.papers.table import Table as Numbers
from reclaim.repairs.alpha import ChosenAlpha, Tried
from reclaim.report.evaluate import Evaluation

__all__ = ["accuracy_table", "mixing_table", "numbers_table", "percent"]

COLUMNS = ("all", "seen", "absent", "seen_among_seen", "absent_among_absent")


def percent(value: float | None) -> str:
    """A fraction in per cent; a dash for what could not be measured."""
    return "–" if value is None else f"{100 * value:.1f}"


def accuracy_table(rows: Mapping[str, Evaluation], title: str = "") -> None:
    """One line per model; the area is that under the trade-off curve."""
    page = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0))
    page.add_column("accuracy, %")
    for column in (*COLUMNS, "area"):
        page.add_column(column.replace("_", " "), justify="right", no_wrap=True)
    for name, row in rows.items():
        area = "–" if row.tradeoff.area is None else f"{row.tradeoff.area:.3f}"
        page.add_row(name, *(percent(getattr(row.accuracy, column)) for column in COLUMNS), area)
    console().print(page, soft_wrap=False)


def mixing_table(mix: ChosenAlpha) -> None:
    """One line per alpha that was tried, with the offset it would get; then what preferences would take."""
    how = "absent, all: estimated" if mix.estimated else "on the labelled rows"
    page = Table(title=f"by alpha ({how})", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("alpha", "offset", "seen, %", "absent, %", "all, %", ""):
        page.add_column(column, justify="right" if column else "left", no_wrap=True)

    def add(t: Tried, note: str) -> None:
        page.add_row(f"{t.alpha:g}", f"{t.offset:.2f}", percent(t.seen), percent(t.absent), percent(t.all), note)

    for t in mix.tried:
        add(t, "taken" if t == mix.taken else "" if t.allowed else "over the budget")
    page.add_row()
    for classes, t in mix.preferences.items():
        add(t, f"by --prefer {classes}")
    console().print(page, soft_wrap=False)


def numbers_table(table: Numbers) -> None:
    """An experiment's rows, each with the printed one below it where there is one."""
    page = Table(title=table.title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    page.add_column(table.corner)
    for column in table.columns:
        page.add_column(column, justify="right")
    for name, cells in table.rows.items():
        page.add_row(name, *map(str, cells))
        if name in table.printed:
            page.add_row("  printed", *(str(Cell(value)) for value in table.printed[name]), style="dim")
    console().print(page)
