"""Features: nearest class mean, each row left out of its own mean."""

from dataclasses import replace

import torch

from reclaim.report.diagnoses.features import features, nearest_class_mean
from tests import toys


def clouds(spread: float, n: int = 211) -> torch.Tensor:
    _, y, _ = toys.logits(n)
    centres = torch.randn(7, 5, generator=torch.Generator().manual_seed(8))
    return centres[y] + spread * torch.randn(n, 5, generator=torch.Generator().manual_seed(9))


def test_it_equals_leaving_each_row_out_in_a_loop() -> None:
    f, (_, y, _) = clouds(0.8), toys.logits()
    unit = torch.nn.functional.normalize(f, dim=1)
    expected = []
    for i in range(len(f)):
        means = torch.stack([unit[(y == c) & (torch.arange(len(f)) != i)].mean(0) for c in range(7)])
        expected.append(int((torch.nn.functional.normalize(means, dim=1) @ unit[i]).argmax()) == int(y[i]))
    assert nearest_class_mean(f, y, 7).tolist() == expected


def test_a_row_alone_in_its_class_has_no_mean_to_be_near() -> None:
    f, y = torch.eye(3), torch.tensor([0, 1, 1])
    assert nearest_class_mean(f, y, 4).tolist() == [False, False, False]


def test_blurred_features_are_damage_and_sharper_ones_are_not() -> None:
    rows = toys.snapshot()
    sharp, blurred = replace(rows, features=clouds(0.3)), replace(rows, features=clouds(2.5))
    assert features(sharp, blurred).damaged
    assert not features(blurred, sharp).damaged and features(blurred, sharp).value > 0.2


def test_scaling_the_features_changes_nothing() -> None:
    rows = toys.snapshot()
    assert features(replace(rows, features=clouds(0.8)), replace(rows, features=7 * clouds(0.8))).value == 0.0
