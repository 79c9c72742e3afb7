"""Divisions: exact without groups, whole groups with them."""

import pytest
import torch

from reclaim.data.division import divided


def test_without_groups_exactly_as_many_rows_are_drawn() -> None:
    here, there = divided(11, 4, seed=3)
    assert len(here) == 4 and sorted([*here.tolist(), *there.tolist()]) == list(range(11))
    assert here.tolist() == sorted(here.tolist()) and not torch.equal(here, divided(11, 4, seed=4)[0])


@pytest.mark.parametrize("groups", [torch.arange(11), torch.arange(11).flip(0) * 3])
def test_a_row_per_group_is_as_good_as_no_groups(groups: torch.Tensor) -> None:
    for count in (1, 4, 10):
        for mine, theirs in zip(divided(11, count, 5, groups), divided(11, count, 5), strict=True):
            assert torch.equal(mine, theirs)


def test_no_group_is_on_both_sides_and_the_sizes_are_near() -> None:
    groups = torch.randint(0, 40, (300,), generator=torch.Generator().manual_seed(0))
    largest = int(torch.bincount(groups).max())
    for seed in range(20):
        here, there = divided(300, 120, seed, groups)
        assert not set(groups[here].tolist()) & set(groups[there].tolist())
        assert len(here) + len(there) == 300 and abs(len(here) - 120) <= largest / 2


def test_each_side_has_a_group_where_there_are_two() -> None:
    groups = torch.tensor([0] * 50 + [1])
    for seed in range(5):
        here, there = divided(51, 25, seed, groups)
        assert len(here) and len(there)
    here, there = divided(3, 1, 0, torch.zeros(3, dtype=torch.int64))
    assert len(here) + len(there) == 3 and not (len(here) and len(there))


def test_large_groups_are_drawn_as_often_as_small_ones() -> None:
    """A group drawn by its rows would be drawn the more often the larger it is, and no two would be exchangeable."""
    groups = torch.cat([torch.full((size,), number) for number, size in enumerate([1, 1, 1, 1, 16])])
    first = [int(groups[divided(20, 1, seed, groups)[0]][0]) for seed in range(600)]
    assert 600 / 5 * 0.75 < first.count(4) < 600 / 5 * 1.25
