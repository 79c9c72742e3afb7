"""Arrays that are inputs already."""

import numpy as np
import torch

from reclaim.data.inputs.arrays import AsTensors


def test_arrays_and_tensors_stay_as_they_are_but_for_their_precision() -> None:
    x = np.arange(6.0).reshape(2, 3)
    made = AsTensors()(x)
    assert made.dtype == torch.float32 and made.tolist() == x.tolist()
    assert AsTensors()(torch.tensor([3, 1])).dtype == torch.int64


def test_mappings_are_stacked_name_by_name() -> None:
    make = AsTensors()
    batch = make.collate([make({"a": np.zeros(3), "b": np.int64(i)}) for i in range(4)])
    assert batch["a"].shape == (4, 3) and batch["b"].tolist() == [0, 1, 2, 3]
