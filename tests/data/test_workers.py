"""How many processes decode where nobody says, and what comes back from them."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data import workers
from reclaim.data.inputs.arrays import AsTensors
from reclaim.data.inputs.image import Preprocess
from reclaim.data.loader import batches, parts_of
from reclaim.data.records import Split
from reclaim.data.workers import default_workers

PICTURE = np.zeros((8, 8, 3), np.uint8)  # 768 bytes as an input in float32


def rows(count: int = 600, example: np.ndarray = PICTURE) -> Split:
    return Split(torch.zeros(count, dtype=torch.int64), lambda i: example, str)


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(workers.sys, "platform", "linux")
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 1 << 34)
    yield


def test_many_images_have_some_and_other_examples_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "reclaim")
    assert default_workers(rows(), Preprocess(), 32, on_gpu=True) == 12
    assert default_workers(rows(), Preprocess(), 32, on_gpu=False) == 4
    assert "decoded by 12 processes; workers= says otherwise" in caplog.text
    assert default_workers(rows(511), Preprocess(), 32, on_gpu=True) == 0
    assert default_workers(rows(), AsTensors(), 32, on_gpu=True) == 0
    assert default_workers(rows(example=PICTURE.astype(np.float32)), Preprocess(), 32, on_gpu=True) == 0


def test_few_cores_and_systems_that_start_processes_anew_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert default_workers(rows(), Preprocess(), 32, on_gpu=True) == 0
    monkeypatch.setattr(workers.sys, "platform", "darwin")
    assert default_workers(rows(), Preprocess(), 32, on_gpu=True) == 0


def test_their_batches_fill_at_most_half_of_the_shared_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reclaim")
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 2 * 3 * (2 * 32 * 768) + 100)
    assert default_workers(rows(), Preprocess(), 32, on_gpu=True) == 3
    assert "room for the batches of 3 of 12" in caplog.text
    monkeypatch.setattr(workers, "free_shared_memory", lambda: 0)
    assert default_workers(rows(), Preprocess(), 32, on_gpu=True) == 0
    assert "decoded by this one" in caplog.text


def test_an_error_of_another_process_reads_as_one_of_this() -> None:
    def read(i: int) -> np.ndarray:
        if i == 9:
            raise BadInput("picture 9 cannot be read")
        return np.zeros(3, np.float32)

    torn = Split(torch.zeros(12, dtype=torch.int64), read, str)
    said = []
    for count in (0, 2):
        with pytest.raises(BadInput) as caught:
            list(batches(torn, AsTensors(), 4, count))
        said.append(str(caught.value))
    assert said == ["picture 9 cannot be read"] * 2


@pytest.mark.parametrize(("count", "size"), [(1, 32), (33, 32), (97, 32), (64, 32), (5, 1000), (0, 3)])
def test_even_parts_differ_by_one_row_at_most(count: int, size: int) -> None:
    for even in (True, False):
        parts = parts_of(count, size, even=even)
        assert [i for part in parts for i in part] == list(range(count))
        assert all(len(part) <= size for part in parts) and len(parts) == -(-count // size)
        assert not even or not parts or max(map(len, parts)) - min(map(len, parts)) <= 1
