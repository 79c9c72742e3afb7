"""Bars: silent where nobody looks, one display for work inside work."""

from types import SimpleNamespace

import pytest

from reclaim.core import progress
from reclaim.core.progress import track
from reclaim.repairs.pseudo_cross_validation import pseudo_cross_validation
from tests import toys


@pytest.fixture
def terminal(monkeypatch) -> None:
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(progress, "_quiet", False)


def shown() -> list[tuple[str, float]]:
    """The bars on the display, each with how far it is."""
    return [] if progress._display is None else [(task.description, task.completed) for task in progress._display.tasks]


def test_work_inside_work_has_its_bar_below(terminal) -> None:
    found = []
    for _ in track(range(2), "outer", total=2):
        found += [shown() for _ in track(range(2), "inner", total=2)] + [shown()]
    inside = [[("outer", i), ("inner", j)] for i in range(2) for j in range(2)]
    assert found == [*inside[:2], [("outer", 0)], *inside[2:], [("outer", 1)]] and not shown()


def test_after_an_error_nothing_is_left_of_it(terminal) -> None:
    with pytest.raises(ZeroDivisionError):
        for i in track(range(2), "outer"):
            for _ in track(range(2), "inner"):
                1 / i
    assert not shown()
    assert [shown() for _ in track(range(1), "later")] == [[("later", 0)]]


def test_without_a_terminal_nothing_is_shown(capsys) -> None:
    assert [shown() for _ in track(range(3), "silence", total=3)] == [[], [], []]
    assert capsys.readouterr() == ("", "")


def test_retrainings_are_counted(terminal) -> None:
    found = []

    def retrain(model, data):
        found.append(shown())
        return model

    pseudo_cross_validation(toys.classifier(), toys.data(), retrain)
    assert found == [[("retraining", i)] for i in range(3)]
