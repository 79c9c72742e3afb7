"""What every merge must do."""

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from tests import toys
from tests.toys import copied

EVERY = pytest.mark.parametrize("name", names("merges"))


@EVERY
def test_a_model_merged_with_itself_is_itself(name: str) -> None:
    theta = toys.classifier().weights
    assert toys.same(find("merges", name)(theta, copied(theta)), theta)


@EVERY
def test_nothing_given_changes_and_nothing_is_shared(name: str) -> None:
    theta_0, theta_1 = toys.classifier(0).weights, toys.classifier(1).weights
    kept_0, kept_1 = copied(theta_0), copied(theta_1)
    for tensor in find("merges", name)(theta_0, theta_1).values():
        tensor.zero_()
    assert toys.same(theta_0, kept_0) and toys.same(theta_1, kept_1)


@EVERY
def test_integers_are_carried_over_not_averaged(name: str) -> None:
    theta_0, theta_1 = toys.classifier(0).weights, copied(toys.classifier(1).weights)
    theta_1["norm.num_batches_tracked"] += 7
    merged = find("merges", name)(theta_0, theta_1)
    assert torch.equal(merged["norm.num_batches_tracked"], theta_1["norm.num_batches_tracked"])
    assert {key: tensor.dtype for key, tensor in merged.items()} == {key: t.dtype for key, t in theta_0.items()}


@EVERY
def test_different_architectures_are_refused_by_name(name: str) -> None:
    theta = toys.classifier().weights
    with pytest.raises(BadInput, match=r"only before has: head\.bias"):
        find("merges", name)(theta, {key: t for key, t in theta.items() if key != "head.bias"})
    with pytest.raises(BadInput, match=r"'head\.bias' has shape \[5\] before and \[4\] after"):
        find("merges", name)(theta, theta | {"head.bias": torch.zeros(4)})
