"""The loop lets a card work: whatever the number of steps, it asks and waits as often."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from tests import toys

DATA = toys.data()
ASKS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero", "aten::masked_select"}


class Waits(TorchDispatchMode):
    """Counts what waits for a card: values read from there, and copies that do not go on by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, there = op._schema.name, [t.is_cuda for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        made = op(*args, **(kwargs or {}))
        here = args[0] if name == "aten::copy_" else made
        if name in ("aten::_to_copy", "aten::copy_"):
            crosses = isinstance(here, Tensor) and here.is_cuda != there[-1]
            if crosses and not (here.is_cuda and ((kwargs or {}).get("non_blocking") or args[2:3] == (True,))):
                self.found[name] += 1
        elif name in ASKS and any(there):
            self.found[name] += 1
        return made


def waits(budget: Budget) -> Counter[str]:
    model = toys.classifier()
    with Waits() as counting:
        fit(model, DATA, budget)
    return counting.found


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_of_many_steps_waits_as_often_as_one_of_few(
    optimizer: str, accumulate: int, device: torch.device
) -> None:
    budget = Budget(epochs=1, batch_size=40, accumulate=accumulate, device=str(device))
    budget = replace(budget, optimizer=optimizer)  # type: ignore[arg-type]
    few, many = waits(budget), waits(replace(budget, batch_size=5))
    # whether the first answers are logits, and the loss of the epoch
    assert few == many and few["aten::_local_scalar_dense"] == 2


def test_asking_is_counted(device: torch.device) -> None:
    """The three ways in which a recipe waits."""
    with Waits() as counting:
        for batch in steps(toys.classifier(), DATA, Budget(steps=3, batch_size=40, device=str(device))):
            loss = classification(batch)
            batch.backward(loss)
            if float(loss.detach()) > 0 and bool((batch.logits > 0).any()):
                loss.detach().cpu()
            batch.step()
    assert counting.found["aten::_local_scalar_dense"] >= 6 and counting.found["aten::_to_copy"] >= 3
