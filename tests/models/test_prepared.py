"""Examples are prepared once, and batches of them are those that would be made afresh."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reclaim.core.inference import Inference
from reclaim.data.inputs.image import Preprocess
from reclaim.data.records import Data, Split
from reclaim.models.batch_norm import measure_again
from reclaim.models.batches import evaluation_batches
from reclaim.models.predict import predict
from reclaim.models.prepared import Prepared
from reclaim.repairs.models import repair
from tests import toys

HOW = Inference(batch_size=16, workers=0)


def counted(data: Data) -> tuple[Data, dict[str, list[int]]]:
    """The same data, and which examples were read of each split."""
    read: dict[str, list[int]] = {name: [] for name in data.splits}

    def reading(name: str, split: Split) -> Split:
        def one(i: int) -> Any:
            read[name].append(i)
            return split.read(i)

        return replace(split, read=one)

    return replace(data, splits={name: reading(name, split) for name, split in data.splits.items()}), read


def same(a: Any, b: Any) -> bool:
    first, second = list(a), list(b)
    return len(first) == len(second) and all(
        torch.equal(x, z) and torch.equal(y, w) for (x, y), (z, w) in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_and_each_example_is_made_once(workers: int) -> None:
    data, read = counted(toys.data())
    model, source, how = toys.classifier(), Prepared(), replace(HOW, workers=workers)
    rows = data.split("val")
    some = rows.rows(torch.tensor([5, 3, 40, 3])).rows(torch.tensor([2, 0]))
    for part, chunk in ((some, None), (rows, None), (rows, 7), (some, 1)):
        assert same(source(model, part, how, chunk=chunk), evaluation_batches(model, part, HOW, chunk=chunk))
    del read["val"][:]
    twin = toys.classifier(seed=3)
    assert len(list(source(twin, rows, HOW))) == 4 and not read["val"]  # made alike, so there already
    assert same(source(twin, rows, HOW), evaluation_batches(twin, rows, HOW))


def test_models_whose_inputs_are_made_otherwise_have_their_own() -> None:
    source, data = Prepared(), toys.images()
    one, other = (
        replace(toys.classifier(module=toys.GoesOn()), preprocess=Preprocess(mean=(mean,), std=(1.0,)))
        for mean in (0.0, 0.5)
    )
    for model in (one, other, one):
        assert same(source(model, data.split("val"), HOW), evaluation_batches(model, data.split("val"), HOW))


def test_what_has_no_room_is_made_each_time_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "reclaim")
    data, read = counted(toys.data())
    source = Prepared(share=0.0)
    for _ in range(2):
        made = source(toys.classifier(), data.split("val"), HOW)
        assert same(made, evaluation_batches(toys.classifier(), toys.data().split("val"), HOW))
    assert len(read["val"]) >= 120 and "60 examples do not fit into 0 % of the free memory" in caplog.text


def test_on_a_card_they_lie_there(device: torch.device) -> None:
    how, data = replace(HOW, device=str(device)), toys.data()
    source = Prepared()
    made = list(source(toys.classifier(), data.split("val"), how))
    assert {x.device for x, _ in made if isinstance(x, Tensor)} == {device}
    torch.testing.assert_close(
        predict(toys.classifier(), data, "val", inference=how, source=source).logits,
        predict(toys.classifier(), data, "val").logits,
    )


def test_a_repair_reads_each_example_once() -> None:
    data, read = counted(toys.data(n=700))
    before, after = toys.classifier(0), toys.classifier(1)
    done = repair(before, after, data, inference=HOW)
    for some in read.values():  # the first of those that are asked for is looked at for its size too
        assert len(some) - len(set(some)) <= 4
    assert len(set(read["test"])) == 693
    again = repair(before, after, toys.data(n=700), inference=replace(HOW, batch_size=250))
    assert done.alpha == again.alpha and done.offset.offset == pytest.approx(again.offset.offset, abs=1e-3)


def test_measured_statistics_are_the_same_of_prepared_rows() -> None:
    rows = toys.data().split("train")
    one, other = (
        measure_again(toys.classifier(), rows, HOW, source=source) for source in (Prepared(), evaluation_batches)
    )
    assert toys.same(one.weights, other.weights)


def test_mappings_and_rows_of_any_length_are_kept_as_they_are() -> None:
    data, model = toys.in_two(toys.data()), toys.towers().bind(toys.CLASSES)
    first, second = (
        predict(model, data, "val", inference=replace(HOW, workers=workers), source=Prepared()) for workers in (0, 2)
    )
    assert torch.equal(first.logits, second.logits) and torch.equal(
        first.logits, predict(model, data, "val", inference=HOW).logits
    )


def test_numbers_of_numpy_stay_what_they_are() -> None:
    """As a program's own collate function may need them."""
    rows = Split(torch.zeros(4, dtype=torch.int64), lambda i: (np.full(3, i, np.float32), i), str)
    assert [type(x) for x in rows.rows(torch.arange(2)).read(1)] == [np.ndarray, int]
