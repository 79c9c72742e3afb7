"""Batches: in the split's own order, on a device, images with their channels last."""

import sys
from multiprocessing import AuthenticationError

import numpy as np
import pytest
import torch

from reclaim.data.inputs.arrays import AsTensors
from reclaim.data.inputs.image import Preprocess
from reclaim.data.loader import Examples, batches, batches_of, moved, placed
from reclaim.data.records import Split

CPU = torch.device("cpu")


def test_mappings_come_in_batches_with_their_labels() -> None:
    rows = Split(torch.arange(5), lambda i: {"a": np.full(3, i), "b": np.float64(i)}, str)
    found = list(batches(rows, AsTensors(), 2))
    assert [y.tolist() for _, y in found] == [[0, 1], [2, 3], [4]]
    assert found[1][0]["a"].tolist() == [[2, 2, 2], [3, 3, 3]] and found[1][0]["b"].dtype == torch.float32


def test_images_are_laid_out_with_their_channels_last_also_in_a_mapping() -> None:
    x = torch.rand(2, 3, 4, 5)
    assert placed(x, CPU).is_contiguous(memory_format=torch.channels_last) and torch.equal(placed(x, CPU), x)
    both = placed({"image": x, "ids": torch.zeros(2, 7)}, CPU)
    assert both["image"].is_contiguous(memory_format=torch.channels_last) and both["ids"].is_contiguous()
    assert moved(x, CPU).is_contiguous() and moved({"image": x}, CPU)["image"].is_contiguous()


def test_the_augmentation_of_an_example_depends_on_seed_and_row_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    rows = Split(torch.zeros(6, dtype=torch.int64), lambda i: picture, str)
    some, again = (Examples(rows, Preprocess(channels=3, crop=9), "flip", (s, 1)) for s in (3, 3))
    other = Examples(rows, Preprocess(channels=3, crop=9), "flip", (4, 1))
    assert all(torch.equal(some[i][0], again[i][0]) for i in (5, 0, 2))
    assert any(not torch.equal(some[i][0], other[i][0]) for i in range(6))


class Speaking(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Ends, in the process that makes its batches, in errors that no caller sees, as threads of that process do."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        for error in (EOFError("nobody listens"), ConnectionResetError("gone"), AuthenticationError("cut off")):
            sys.excepthook(type(error), error, None)
        sys.excepthook(ValueError, ValueError("a fault"), None)
        return torch.zeros(1), torch.zeros(1)


def test_a_process_that_decodes_says_nothing_of_a_batch_that_nobody_fetches(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.excepthook
    assert len(list(batches_of(Speaking(), 1))) == 1
    assert capfd.readouterr().err == "ValueError: a fault\n" and sys.excepthook is before
