"""Margins: the numbers everything else follows from."""

import pytest
import torch

from reclaim.core.arrays import row_blocks
from reclaim.snapshots.metrics.margins import group_bests, margins
from tests import toys


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_they_equal_masking_and_maximising(dtype: torch.dtype) -> None:
    z, y, seen = toys.logits()
    z = z.to(dtype)
    m = margins(z, y, seen)
    best_seen, best_absent = z[:, seen].double().amax(1), z[:, ~seen].double().amax(1)
    assert torch.equal(m.margin, best_seen - best_absent)
    assert torch.equal(m.is_seen, seen[y])
    assert torch.equal(m.right, z.argmax(1) == y)
    own_group = torch.where(seen[None, :] == seen[y][:, None], z, -torch.inf)
    assert torch.equal(m.hit, own_group.argmax(1) == y)


def test_leaving_the_own_class_out_equals_deleting_its_column() -> None:
    z, y, seen = toys.logits()
    deleted = z.scatter(1, y[:, None], -torch.inf)
    best_seen, best_absent = group_bests(deleted, seen)
    assert torch.equal(margins(z, y, seen).left_out, best_seen.double() - best_absent.double())


def test_of_equal_logits_the_first_column_wins_as_in_argmax() -> None:
    z, y, seen = toys.logits(n=999)
    z = z.round()  # many ties, inside and across the groups
    m = margins(z, y, seen)
    assert torch.equal(m.right, z.argmax(1) == y)
    own_group = torch.where(seen[None, :] == seen[y][:, None], z, -torch.inf)
    assert torch.equal(m.hit, own_group.argmax(1) == y)
    assert not torch.equal(m.hit, z.gather(1, y[:, None]).squeeze(1) == own_group.amax(1))  # the ties mattered


def test_blocks_do_not_show() -> None:
    z, y, seen = toys.logits(n=2000, c=1000)
    assert len(list(row_blocks(z))) == 3
    whole = margins(z, y, seen)
    parts = [margins(z[i : i + 100], y[i : i + 100], seen) for i in range(0, 2000, 100)]
    assert torch.equal(whole.margin, torch.cat([part.margin for part in parts]))
    assert torch.equal(whole.right, torch.cat([part.right for part in parts]))


def test_a_group_without_columns_loses_always() -> None:
    z, y, _ = toys.logits()
    assert bool((margins(z, y, torch.ones(7, dtype=torch.bool)).margin == torch.inf).all())
