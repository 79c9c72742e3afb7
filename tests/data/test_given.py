"""Data that a program holds: loaders and lists become a split whose rows are where they were."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from reclaim.core.errors import BadInput, BadKind
from reclaim.data.given import examples_of, seen_names
from reclaim.data.loader import batches

X, Y = torch.randn(17, 3, generator=torch.Generator().manual_seed(0)), torch.arange(17) % 5
CLASSES = tuple("abcde")


def read(given: Any) -> tuple[Any, Tensor]:
    """All inputs and labels, as a network would get them."""
    examples = examples_of(given)
    split = examples.data(CLASSES, CLASSES[:3]).split("all")
    (x, y), *more = batches(split, examples.batched, batch_size=100)
    assert not more
    return x, y


@pytest.mark.parametrize(
    "given",
    [
        DataLoader(TensorDataset(X, Y), batch_size=4),
        DataLoader(TensorDataset(X, Y), batch_size=4, num_workers=1),
        DataLoader(list(zip(X, Y.tolist(), strict=True)), batch_size=17),
        (X, Y),
        (X.numpy(), Y.numpy()),
        (list(X), Y.tolist()),
        (X.split(4), Y.split(4)),
        [list(X.split(6)), list(Y.split(6))],
    ],
    ids=["loader", "workers", "examples", "tensors", "arrays", "lists", "batches", "uneven-batches"],
)
def test_every_row_comes_once_and_in_order(given: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, y = read(given)
    assert torch.equal(x, X) and torch.equal(y, Y)


@pytest.mark.parametrize("how", [{"shuffle": True}, {"drop_last": True}, {"sampler": [3, 3, 5]}], ids=str)
def test_a_loader_that_shuffles_samples_or_drops_is_read_over_its_data_set_and_says_so(how: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="read in order instead"):
        x, y = read(DataLoader(TensorDataset(X, Y), batch_size=4, **how))
    assert torch.equal(x, X) and torch.equal(y, Y)


def test_batches_may_be_mappings_and_are_made_by_the_loaders_own_function() -> None:
    def pad(examples: list[tuple[list[int], int]]) -> dict[str, Tensor]:
        longest = max(len(ids) for ids, _ in examples)
        ids = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids, _ in examples])
        return {"ids": ids, "mask": (ids > 0).long(), "labels": torch.tensor([y for _, y in examples])}

    rows = [([1] * (1 + i % 4), i % 5) for i in range(17)]
    x, y = read(DataLoader(rows, batch_size=3, collate_fn=pad))  # type: ignore[arg-type]
    assert x.keys() == {"ids", "mask"} and x["ids"].shape == (17, 4) and torch.equal(x["ids"], x["mask"])
    assert torch.equal(y, Y)


class Stream(IterableDataset[tuple[Tensor, int]]):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        yield X[0], 0


def test_what_cannot_be_read_twice_or_is_no_data_is_refused() -> None:
    with pytest.raises(BadInput, match="no known length"):
        examples_of(DataLoader(Stream()))
    with pytest.raises(BadInput, match="equally many; given: 17 and 16"):
        examples_of((X, Y[:16]))
    with pytest.raises(BadInput, match=r"a batch must be \(inputs, labels, …\).*the loader gives Tensor"):
        examples_of(DataLoader(X))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="a mapping with a, b"):
        examples_of(DataLoader([{"a": 1, "b": 2}]))  # type: ignore[arg-type]
    with pytest.raises(BadKind, match="given: str"):
        examples_of("photos/")  # type: ignore[arg-type]


def test_seen_classes_are_indices_or_names() -> None:
    assert seen_names(range(2), CLASSES) == ("a", "b") == seen_names(["a", "b"], CLASSES)
    assert seen_names(torch.tensor([4]), CLASSES) == ("e",)
    with pytest.raises(BadInput, match="from 0 to 4; `seen` names 5"):
        seen_names([5], CLASSES)
    with pytest.raises(BadInput, match="seen="):
        seen_names(None, CLASSES)


@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_a_mask_of_bools_says_which_classes_are_seen(form: Any) -> None:
    assert seen_names(form([True, False, True, True, False]), CLASSES) == ("a", "c", "d")
    with pytest.raises(BadInput, match="one bool per class; given: 4 for 5"):
        seen_names(form([True, False, True, True]), CLASSES)
    with pytest.raises(BadInput, match=r"given twice: 1, 0, 1, 1, 0\. .*a mask of 0 and 1 must be bool"):
        seen_names(form([1, 0, 1, 1, 0]), CLASSES)
    with pytest.raises(BadKind, match=r"names or whole numbers; given: 1\.0"):
        seen_names(form([1.0, 0.0]), CLASSES)


def test_seen_classes_are_said_once_and_in_one_way() -> None:
    with pytest.raises(BadInput, match="given twice: a, 0"):
        seen_names(["a", 0], CLASSES)
    with pytest.raises(BadKind, match="given: True"):
        seen_names([True, 2], CLASSES)


def test_labels_out_of_range_and_unknown_seen_classes_are_refused() -> None:
    with pytest.raises(BadInput, match="out of range"):
        examples_of((X, Y)).data(CLASSES[:4], ["a"])
    with pytest.raises(BadInput, match="seen classes that the data do not have: z"):
        examples_of((X, Y)).data(CLASSES, ["z"])


class Augmented(TensorDataset):
    """Rows that come with other noise each time they are read."""

    def __getitem__(self, i: int) -> Any:
        x, y = super().__getitem__(i)
        return x + torch.randn(3), y


def test_a_data_set_that_augments_is_refused() -> None:
    with pytest.raises(BadInput, match="example 0 is another one each time"):
        examples_of(DataLoader(Augmented(X, Y), batch_size=4))


def test_labels_in_lists_are_whole_numbers_one_per_example() -> None:
    with pytest.raises(BadKind, match="whole numbers"):
        examples_of((list(X), [y + 0.7 for y in Y.tolist()])).data(CLASSES, ["a"])
    with pytest.raises(BadInput, match="batch 0 holds 3 inputs and 5 labels"):
        examples_of((list(X), list(torch.eye(5)[Y])))
