"""Inputs of a batch: tensors or mappings of tensors."""

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.inputs.protocol import shapes, stack


def test_tensors_are_stacked_and_mappings_name_by_name() -> None:
    assert stack([torch.zeros(3), torch.ones(3)]).tolist() == [[0, 0, 0], [1, 1, 1]]
    made = stack([{"a": torch.zeros(2), "b": torch.tensor(1)}, {"b": torch.tensor(2), "a": torch.ones(2)}])
    assert made["b"].tolist() == [1, 2] and made["a"].tolist() == [[0, 0], [1, 1]]


def test_what_differs_in_shape_or_names_is_refused() -> None:
    with pytest.raises(BadInput, match=r"the inputs differ in shape: \[\(2,\), \(3,\)\]"):
        stack([torch.zeros(3), torch.zeros(2)])
    with pytest.raises(BadInput, match="differ in shape"):
        stack([{"a": torch.zeros(3)}, {"a": torch.zeros(2)}])
    for other in ({"b": torch.zeros(3)}, torch.zeros(3)):
        with pytest.raises(BadInput, match="differ in their names"):
            stack([{"a": torch.zeros(3)}, other])


def test_shapes_are_shown_without_the_rows() -> None:
    assert shapes(torch.zeros(4, 3, 2)) == "[3, 2]"
    assert shapes({"ids": torch.zeros(4, 7), "mask": torch.zeros(4)}) == "ids: [7], mask: []"
