"""The workshop is built once; tests work in a folder of their own beside a link to it."""

from pathlib import Path

import pytest

from tests.cli.workshop import build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workshop")
    build(root)
    return root


@pytest.fixture
def shop(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which the workshop's things have short names."""
    for thing in built.iterdir():
        (tmp_path / thing.name).symlink_to(thing)
    monkeypatch.chdir(tmp_path)
    return tmp_path
