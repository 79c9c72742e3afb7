"""Row scores: the definitions, at any scale, with ties, in any floating type."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from reclaim.core.arrays import row_blocks
from reclaim.snapshots.metrics.row_scores import row_scores, top_label
from tests import toys


@pytest.mark.parametrize("scale", [0.01, 1.0, 12.0, 1000.0])
@pytest.mark.parametrize("move", [0.0, -200.0, 20.0])
def test_they_equal_their_definitions_at_any_scale(scale: float, move: float) -> None:
    z, y, _ = toys.logits()
    z = scale * z.double() + move
    found, p = row_scores(z, y), z.softmax(1)
    torch.testing.assert_close(found.nll, cross_entropy(z, y, reduction="none"))
    torch.testing.assert_close(found.brier, (p - one_hot(y, 7)).square().sum(1))
    torch.testing.assert_close(found.top, p.amax(1))
    assert torch.equal(found.right, (z.argmax(1) == y).double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_small_types_are_widened_first(dtype: torch.dtype) -> None:
    z, y, _ = toys.logits()
    found, wide = row_scores(z.to(dtype), y), row_scores(z.to(dtype).double(), y)
    for name in ("nll", "brier", "top", "right"):
        torch.testing.assert_close(getattr(found, name), getattr(wide, name), rtol=1e-5, atol=1e-6)


def test_of_equal_logits_the_first_column_wins_as_in_argmax() -> None:
    z, y, _ = toys.logits(n=999)
    z = z.round()
    _, right = top_label(z, y)
    assert torch.equal(right, (z.argmax(1) == y).double())
    assert not torch.equal(right, (z.gather(1, y[:, None]).squeeze(1) == z.amax(1)).double())  # the ties mattered


def test_the_shorter_way_gives_the_same() -> None:
    z, y, _ = toys.logits()
    whole = row_scores(z, y)
    top, right = top_label(z, y)
    assert torch.equal(top, whole.top) and torch.equal(right, whole.right)


def test_blocks_do_not_show() -> None:
    z, y, _ = toys.logits(n=2000, c=1000)
    assert len(list(row_blocks(z))) == 3
    z[1000] *= 100  # one block needs its peak taken off, the others do not
    parts = torch.cat([row_scores(z[i : i + 100], y[i : i + 100]).nll for i in range(0, 2000, 100)])
    torch.testing.assert_close(row_scores(z, y).nll, parts, rtol=1e-5, atol=1e-6)


def test_the_given_logits_stay_as_they_are() -> None:
    z, y, _ = toys.logits()
    given = z.clone()
    row_scores(z, y)
    top_label(z.round(), y)
    assert torch.equal(z, given)


def test_without_rows_there_are_none() -> None:
    z, y, _ = toys.logits()
    assert len(row_scores(z[:0], y[:0]).top) == 0


def test_the_rounding_of_large_logits_does_not_show_in_sure_rows() -> None:
    z = torch.zeros(100, 5)
    z[:, 2] = torch.linspace(20, 29.9, 100)
    exact = z.double().log_softmax(dim=1)[:, 2]
    torch.testing.assert_close(row_scores(z, torch.full((100,), 2)).nll, -exact, rtol=0, atol=2e-7)
    torch.testing.assert_close(row_scores(z, torch.full((100,), 2)).top, exact.exp(), rtol=0, atol=2e-7)
