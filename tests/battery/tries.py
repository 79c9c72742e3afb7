"""Many tries of one kind, drawn by hypothesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.battery.readers import Kind
from tests.battery.trying import Tally

__all__ = ["tried"]


def tried(kind: Kind, room: Path, count: int, number: int | None = None) -> Tally:
    """Try so often, and count. Nothing is made smaller and nothing remembered: each try is one command.

    Args:
        number: the seed; None draws the same examples each time.
    """
    tally = Tally()

    def once(what: Any) -> None:
        fault, refused = kind.fault(room, what)
        tally.tried, tally.refused = tally.tried + 1, tally.refused + refused
        if fault:
            tally.faults.append((repr(what), fault))

    test = settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=number is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(kind.strategy(room))(once))
    (test if number is None else seed(number)(test))()
    return tally
