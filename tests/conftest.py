"""Where real data are, where tensors may lie, and small helpers for the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from reclaim.cli.main import main
from tests.pretended import pretended

os.environ["RECLAIM_DEVICE"] = "cpu"  # what "auto" means in tests: exact ones hold on a CPU
os.environ["HF_HUB_OFFLINE"] = "1"  # before any library reads it: a test asks no hub
CARDS = ["pretended", *([pytest.param("real", marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a card, what needs one is skipped."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no card"))


@pytest.fixture(params=CARDS)
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A graphics card: a pretended one, and then a real one where there is one."""
    if request.param == "real":
        yield torch.device("cuda", 0)
        return
    with pretended() as card:
        yield card


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real images and weights; tests that need it are skipped without."""
    folder = Path(os.environ.get("RECLAIM_DATA", "../shared/data"))
    if not (folder / "weights").is_dir():
        pytest.skip(f"no real data: {folder} has no weights/ (set RECLAIM_DATA)")
    return folder


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on standard output."""
        return json.loads(self.out)


@pytest.fixture
def reclaim(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run ``reclaim`` in this process."""

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        return Answer(code, *capfd.readouterr())

    return run
