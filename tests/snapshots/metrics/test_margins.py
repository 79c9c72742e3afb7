"""Margins: the numbers everything else follows from."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from reclaim.core.arrays import row_blocks
from reclaim.snapshots.metrics.margins import group_bests, margins
from reclaim.snapshots.metrics.tradeoff import area_of, best, curve_of, steps_of
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


WAITS = {"_local_scalar_dense", "nonzero", "unique_consecutive", "index by a mask"}
FEW_NUMBERS = {"gather", "scatter_", "new_full", "new_empty"}  # of a large tensor they touch a few numbers of a row
NO_WORK = {"slice", "select", "unsqueeze", "squeeze", "detach", "alias", "view", "split", "unbind"}
NO_WORK |= {"sym_size", "sym_stride", "sym_numel", "numel", "dim", "is_contiguous", "sym_storage_offset"}


class Kernels(TorchDispatchMode):
    """Counts what is done on a card.

    Attributes:
        ops: how often, by operation.
        passes: over `size` numbers: what large tensors are read or written, in multiples of it.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.ops, self.passes = size, Counter(), 0.0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made, kwargs = op(*args, **(kwargs or {})), kwargs or {}
        name = op._schema.name.removeprefix("aten::")
        masks = [t for t in args[1] if t is not None and t.dtype == torch.bool] if name == "index" else []
        touched = [t for t in (*args, made) if isinstance(t, torch.Tensor)]
        if name not in NO_WORK and any(t.is_cuda for t in touched):
            self.ops["index by a mask" if masks else name] += 1
            if name not in FEW_NUMBERS:
                self.passes += sum(t.numel() for t in touched if t.numel() >= self.size // 4) / self.size
        return made


def test_on_a_card_few_kernels_read_the_logits(device: torch.device) -> None:
    """Each waits some microseconds, in which a card reads as much as a tenth of 50,000 x 1,000 logits."""
    z, y, seen = (part.to(device) for part in toys.logits(n=600, c=100))
    with Kernels(z.numel()) as margins_only:
        m = margins(z, y, seen)
    assert margins_only.passes <= 3 and margins_only.ops.total() <= 40
    with Kernels(z.numel()) as others:
        steps = steps_of(m)
        area_of(steps)
        best(curve_of(steps))
    assert others.passes == 0 and others.ops.total() <= 65
    assert sum((margins_only.ops + others.ops)[name] for name in WAITS) <= 12


def test_a_card_picks_what_the_cpu_picks(device: torch.device) -> None:
    z, y, seen = toys.logits(n=999)
    every, none = torch.ones(7, dtype=torch.bool), torch.zeros(7, dtype=torch.bool)
    for logits in (z, z.round(), z.half(), z.double()):  # rounded ones tie
        for mask in (seen, every, none):
            there, here = (margins(*given) for given in ((logits.to(device), y.to(device), mask), (logits, y, mask)))
            for name, values in vars(here).items():
                assert torch.equal(vars(there)[name].cpu(), values), name
