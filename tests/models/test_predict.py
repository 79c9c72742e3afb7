"""Prediction: one pass, logits and features, in memory or on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.records import Split
from reclaim.models.predict import predict
from reclaim.snapshots.reading import load_snapshot
from tests import toys

MODEL, DATA = toys.classifier(), toys.data()


def test_the_logits_are_the_networks_and_the_features_what_its_head_takes() -> None:
    made = predict(MODEL, DATA, "val")
    x = torch.from_numpy(np.stack([DATA.split("val").read(i) for i in range(60)]))
    torch.testing.assert_close(made.logits, MODEL.module(x).detach())
    torch.testing.assert_close(made.features @ MODEL.last_layer.weight.T + MODEL.last_layer.bias, made.logits)
    assert torch.equal(made.labels, DATA.split("val").labels)
    assert (made.classes, made.split, made.origin) == (toys.CLASSES, "val", "toy:val")


def test_features_of_a_convolutional_head_are_averaged_over_positions() -> None:
    model = toys.classifier(module=toys.GoesOn())
    made = predict(model, toys.images(), "val")
    x = torch.from_numpy(np.stack([toys.images().split("val").read(i) for i in range(40)]))[:, None]
    torch.testing.assert_close(made.features, torch.relu(model.module.first(x)).mean(dim=(2, 3)).detach())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("features", [False, True])
def test_on_disk_it_is_the_same_as_in_memory(tmp_path: Path, half: bool, features: bool) -> None:
    memory = predict(MODEL, DATA, "test", half=half, features=features)
    disk = predict(
        MODEL, DATA, "test", half=half, features=features, out=tmp_path / "rows", inference=Inference(batch_size=7)
    )
    assert torch.allclose(memory.logits.float(), disk.logits.float(), atol=1e-5)
    assert memory.logits.dtype == disk.logits.dtype == (torch.float16 if half else torch.float32)
    assert (memory.features is None) == (disk.features is None) == (not features)
    assert torch.equal(load_snapshot(tmp_path / "rows").labels, memory.labels)


def test_the_model_is_left_in_its_mode_and_without_hooks() -> None:
    model = toys.classifier()
    model.module.train()
    predict(model, DATA, "val")
    assert model.module.training and not model.last_layer._forward_pre_hooks


def test_columns_are_the_classes_of_the_data_by_name() -> None:
    made = predict(MODEL.reordered(("elk", "cat", "bee", "ant", "dog")), DATA, "val")
    torch.testing.assert_close(made.logits, predict(MODEL, DATA, "val").logits)


def test_nothing_is_left_behind_when_an_example_cannot_be_read(tmp_path: Path) -> None:
    def read(i: int) -> np.ndarray:
        if i == 40:
            raise BadInput("picture 40 cannot be read as an image")
        return DATA.split("val").read(i)

    broken = replace(DATA, splits={"val": replace(DATA.split("val"), read=read)})
    with pytest.raises(BadInput, match="picture 40"):
        predict(MODEL, broken, "val", out=tmp_path / "rows")
    assert not list(tmp_path.iterdir())


def test_inputs_of_the_wrong_shape_are_shown() -> None:
    narrow = Split(torch.zeros(4, dtype=torch.int64), lambda i: np.zeros(2, np.float32), str)
    with pytest.raises(BadInput, match=r"cannot take inputs of shape \[2\]"):
        predict(MODEL, replace(DATA, splits={"val": narrow}), "val")
    mixed = Split(torch.zeros(4, dtype=torch.int64), lambda i: np.zeros(3 + i % 2, np.float32), str)
    with pytest.raises(BadInput, match="inputs differ in shape"):
        predict(MODEL, replace(DATA, splits={"val": mixed}), "val")
    empty = Split(torch.zeros(0, dtype=torch.int64), lambda i: None, str)
    with pytest.raises(BadInput, match="has no rows"):
        predict(MODEL, replace(DATA, splits={"val": empty}), "val")
