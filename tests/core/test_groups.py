"""Rows that belong together: names, numbers, sums and weights."""

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput, BadKind
from reclaim.core.groups import check_members, group_sums, group_weights, members_of, pieces, same_groups, units


def test_names_become_numbers_and_numbers_stay() -> None:
    groups, names = members_of(np.array(["b", "a", "b", "c"]))
    assert groups.tolist() == [1, 0, 1, 2] and names == ("a", "b", "c")
    groups, names = members_of([4, 0, 4])
    assert groups.tolist() == [4, 0, 4] and names == ()


def test_what_cannot_be_groups_is_refused() -> None:
    assert check_members(torch.tensor([3, 0], dtype=torch.int16), 2).dtype == torch.int64
    with pytest.raises(BadKind, match="whole numbers"):
        check_members(torch.zeros(2), 2)
    with pytest.raises(BadInput, match=r"shape \[2\], but there are 3 rows"):
        check_members(torch.tensor([0, 1]), 3)
    with pytest.raises(BadInput, match="numbered from 0; given: -1"):
        check_members(torch.tensor([0, -1]), 2)
    with pytest.raises(BadInput, match="group 2 has no name; there are 2 names: a, b"):
        check_members(torch.tensor([0, 2]), 2, ("a", "b"))


def test_every_group_counts_once() -> None:
    groups = torch.tensor([7, 2, 7, 7])
    assert group_sums(torch.tensor([1.0, 5.0, 2.0, 4.0]), groups).tolist() == [5.0, 7.0]
    assert group_sums(group_weights(groups), groups).tolist() == [1.0, 1.0]
    assert units(groups, 4) == 2 and units(None, 4) == 4


@pytest.mark.parametrize("most", [None, 29])
def test_pieces_hold_every_row_once_and_whole_groups(most: int | None) -> None:
    groups = torch.tensor([0, 9, 4, 4, 7, 2, 2, 2] * 5)
    made = pieces(40, 3, np.random.default_rng(0), groups, most=most)
    assert len(made) == 3 and len(torch.cat(made).unique()) == sum(map(len, made)) == (most or 40)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not set(groups[made[a]].tolist()) & set(groups[made[b]].tolist())
    assert len(pieces(40, 7, np.random.default_rng(0), groups)) == 5
    assert [len(part) for part in pieces(40, 3, np.random.default_rng(0))] == [14, 14, 12]


def test_no_rows_make_no_pieces() -> None:
    assert pieces(0, 3, np.random.default_rng(0), torch.zeros(0, dtype=torch.int64)) == []


def test_groupings_are_compared_by_what_they_keep_together() -> None:
    groups = torch.tensor([0, 9, 4, 4, 0])
    assert same_groups(groups, torch.tensor([5, 2, 1, 1, 5])) and same_groups(groups[:0], groups[:0])
    assert not same_groups(groups, torch.tensor([0, 9, 4, 4, 1]))
    assert not same_groups(groups, torch.tensor([0, 4, 4, 4, 0]))
