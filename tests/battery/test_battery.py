"""A little of what `make battery` tries, the same each time: whatever users bring is read or refused in one message."""

from pathlib import Path

import pytest

from tests.battery.kinds import KINDS
from tests.battery.readers import Kind
from tests.battery.room import build
from tests.battery.tries import tried

EACH = 36  # of every kind, by its weight


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("battery") / "room"
    folder.mkdir()
    build(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_bad_input_is_refused_in_one_message_and_good_input_is_not(room: Path, kind: Kind) -> None:
    found = tried(kind, room, EACH * kind.weight)
    assert found.tried >= EACH and not found.faults, "\n".join(f"{what}\n  {wrong}" for what, wrong in found.faults)
