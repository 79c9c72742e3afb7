"""Data that a program already holds: a `DataLoader`, or two lists of tensors."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, default_collate

from reclaim.core.arrays import as_tensor
from reclaim.core.checks import check_classes, check_labels, check_no_mask
from reclaim.core.errors import Argument, BadInput, BadKind, few
from reclaim.data.inputs.protocol import Augment, Inputs
from reclaim.data.records import Data, Split

__all__ = ["Batched", "Given", "examples_of", "inputs_in", "labels_in", "seen_names"]

Rows: TypeAlias = Sequence[Any] | Tensor
Given: TypeAlias = DataLoader[Any] | tuple[Rows, Rows] | list[Rows]

_LABELS = ("labels", "label", "targets", "target", "y")  # the names of labels in a batch that is a mapping


@dataclass(frozen=True)
class Batched:
    """Makes inputs of a program's own examples, as its own loader batches them.

    Attributes:
        collate_fn: from a list of examples to a batch: (inputs, labels, …), or a mapping.
    """

    collate_fn: Callable[[list[Any]], Any] = default_collate

    def __call__(self, example: Any, augment: Augment = "none", random: np.random.Generator | None = None) -> Any:
        """The example as it is: `collate` makes the inputs."""
        return example

    def collate(self, inputs: Sequence[Any]) -> Inputs:
        """The inputs of a batch of examples, without the labels if they have some."""
        return inputs_in(self.collate_fn(list(inputs)))


@dataclass(frozen=True)
class GivenExamples:
    """What a program holds, one by one.

    Attributes:
        read: example i, with its label.
        labels: [N] int64.
        batched: how examples become a batch.
        workers: of the program's loader; 0 where it has none.
        batch_size: of the program's loader; None where it has none.
        classes: names of the classes, where the data set has some.
    """

    read: Callable[[int], Any]
    labels: Tensor
    batched: Batched
    workers: int = 0
    batch_size: int | None = None
    classes: tuple[str, ...] = ()

    def data(self, classes: Sequence[str], seen: Sequence[str]) -> Data:
        """The examples as one split over `classes`, with those of `seen` as the seen ones."""
        names = check_classes(classes)
        labels = check_labels(self.labels, len(self.labels), len(names))
        split = Split(labels, self.read, lambda i: f"example {i}")
        every = torch.ones(len(names), dtype=torch.bool)
        return Data(names, {"all": split}, every, "the examples given").with_seen(tuple(seen))


def examples_of(given: Given | Tensor, *, labelled: bool = True) -> GivenExamples:
    """Open a loader or two lists. Every example of a loader is read once here, in order, for its label.

    A loader that shuffles, samples or drops the last rows is read over its data set, in order, and a warning says so:
    answers of two networks can only be compared on the same rows.

    Args:
        given: a `DataLoader` whose batches are (inputs, labels, …) or a mapping with "labels"; or inputs and labels,
            each one tensor [N, …], a list of N examples, or a list of batches.
        labelled: whether labels are needed; if not, none is read, and inputs alone will do.

    Raises: BadInput for a loader without a known length, or inputs and labels of different lengths; BadKind otherwise.
    """
    if isinstance(given, DataLoader):
        return _still(_of_loader(given, labelled))
    if isinstance(given, Tensor) and not labelled:
        return GivenExamples(given.__getitem__, torch.zeros(len(given), dtype=torch.int64), Batched())
    if isinstance(given, tuple | list) and len(given) == 2:
        return _of_lists(*given)
    raise BadKind(
        "data are a Data, a torch DataLoader, or a pair (inputs, labels) of tensors or lists; "
        f"given: {type(given).__name__}."
    )


def seen_names(seen: Iterable[int | str] | None, classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the seen classes, from names, indices, or a mask: one bool per class.

    Raises: BadInput for an index that is none, a class given twice, a mask of another length, or if nothing is given;
        BadKind for numbers that are not whole.
    """
    if seen is None:
        raise BadInput(
            "it is not said which classes the fine-tuning had.", Argument("seen", "give their indices or names")
        )
    given = [one.item() if isinstance(one, Tensor | np.generic) else one for one in seen]
    if given and all(isinstance(one, bool) for one in given):
        if len(given) != len(classes):
            raise BadInput(f"a mask of seen classes has one bool per class; given: {len(given)} for {len(classes)}.")
        given = [index for index, one in enumerate(given) if one]
    elif all(isinstance(one, int) for one in given):
        check_no_mask([int(one) for one in given], len(classes))
    names = [_seen_name(one, classes) for one in given]
    if len(set(names)) < len(names):
        raise BadInput(
            f"seen classes are given twice: {few(given)}. Give each one once; a mask of 0 and 1 must be bool."
        )
    return tuple(names)


def _seen_name(one: object, classes: Sequence[str]) -> str:
    if isinstance(one, str):
        return one
    if isinstance(one, bool) or not hasattr(one, "__index__"):
        raise BadKind(f"seen classes are names or whole numbers; given: {one!r} ({type(one).__name__}).")
    index = operator.index(one)
    if not 0 <= index < len(classes):
        raise BadInput(f"there are {len(classes)} classes, from 0 to {len(classes) - 1}; `seen` names {index}.")
    return classes[index]


def labels_in(batch: Any) -> Any:
    """The labels in a batch of inputs and labels.

    Raises: BadInput if it has none.
    """
    if isinstance(batch, Mapping):
        name = next((name for name in _LABELS if name in batch), None)
        if name is not None:
            return batch[name]
    elif isinstance(batch, tuple | list) and len(batch) >= 2:
        return batch[1]
    kind = f"a mapping with {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
    raise BadInput(
        f"a batch must be (inputs, labels, …), or a mapping with one of {', '.join(_LABELS)}; the loader gives {kind}."
    )


def inputs_in(batch: Any) -> Inputs:
    """The inputs in a batch that may have labels too: the first of several things, or a mapping without its labels."""
    if isinstance(batch, Mapping):
        return {key: value for key, value in batch.items() if key not in _LABELS}
    inputs: Inputs = batch[0] if isinstance(batch, tuple | list) else batch
    return inputs


def _of_loader(loader: DataLoader[Any], labelled: bool) -> GivenExamples:
    rows: Any = loader.dataset
    if isinstance(rows, IterableDataset) or not hasattr(rows, "__len__"):
        raise BadInput(
            "the loader's data set has no known length, and its rows are read more than once, in the same order.\n"
            "  Give a loader over a data set with a length and an index, or tensors: (inputs, labels)."
        )
    batched = Batched(loader.collate_fn if loader.batch_sampler is not None else default_collate)
    plain = type(loader.batch_sampler) is BatchSampler and type(loader.sampler) is SequentialSampler
    if not plain or loader.drop_last:
        warnings.warn(
            "the loader shuffles, samples or drops rows; its data set is read in order instead, every row once.",
            stacklevel=4,
        )
        loader = DataLoader(
            rows, batch_size=loader.batch_size or 32, num_workers=loader.num_workers, collate_fn=batched.collate_fn
        )
    labels = [as_tensor(labels_in(batch)).cpu() for batch in loader] if labelled else []
    names = getattr(rows, "classes", None)
    return GivenExamples(
        read=rows.__getitem__,
        labels=torch.cat(labels) if labels else torch.zeros(0 if labelled else len(rows), dtype=torch.int64),
        batched=batched,
        workers=loader.num_workers,
        batch_size=loader.batch_size,
        classes=tuple(map(str, names)) if isinstance(names, list | tuple) else (),
    )


def _of_lists(inputs: Sequence[Any] | Tensor, labels: Sequence[Any] | Tensor) -> GivenExamples:
    if len(inputs) != len(labels):
        raise BadInput(f"inputs and labels must be equally many; given: {len(inputs)} and {len(labels)}.")
    batches = not isinstance(labels, Tensor | np.ndarray) and len(labels) and np.ndim(labels[0]) == 1
    if batches:  # of several examples each
        for i, (x, y) in enumerate(zip(inputs, labels, strict=True)):
            if len(x) != len(y):
                raise BadInput(
                    f"batch {i} holds {len(x)} inputs and {len(y)} labels; give one class index per example."
                )
        inputs = [one for batch in inputs for one in batch]
        labels = [one for batch in labels for one in batch]
    indices = as_tensor(labels).cpu()
    rows = list(zip(inputs, indices, strict=True))
    return GivenExamples(rows.__getitem__, indices, Batched())


def _still(examples: GivenExamples) -> GivenExamples:
    """The examples, if the first few are the same whenever they are read.

    Raises: BadInput if they are not, as where a data set augments at random.
    """
    for i in range(min(8, len(examples.labels))):
        first, again = (_tensors(examples.batched.collate([examples.read(i)])) for _ in range(2))
        if not all(torch.equal(x, y) for x, y in zip(first, again, strict=True)):
            raise BadInput(
                f"example {i} is another one each time it is read, so answers of two networks cannot be compared.\n"
                "  Give a data set without random augmentation."
            )
    return examples


def _tensors(inputs: Inputs) -> list[Tensor]:
    return [inputs] if isinstance(inputs, Tensor) else [x for x in inputs.values() if isinstance(x, Tensor)]
