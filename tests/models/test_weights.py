"""Algebra on weights."""

import pytest
import torch

from reclaim.models.weights import distance, mix
from tests import toys


def test_the_distance_is_euclidean_over_everything_that_is_not_an_integer() -> None:
    theta = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[0.0]]), "n": torch.tensor(5)}
    other = {"a": torch.tensor([0.0, 0.0]), "b": torch.tensor([[4.0]]), "n": torch.tensor(9)}
    assert distance(theta, other) == pytest.approx(5.0)
    assert distance(theta, theta) == 0.0


def test_a_mixture_lies_on_the_segment() -> None:
    a, b = toys.classifier(0).weights, toys.classifier(1).weights
    assert distance(a, mix(a, b, 0.3)) == pytest.approx(0.3 * distance(a, b), rel=1e-5)
