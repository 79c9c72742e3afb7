"""What a calibrator is made of is checked wherever one is made: each number, each list, each tensor, one at a time."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from reclaim.core.errors import BadInput, BadKind
from reclaim.core.registry import find
from tests import toys
from tests.contracts.test_every_calibrator import EVERY, make

# numbers that a method fits for each seen class, as its paper has them
PER_CLASS = {
    "bias-corrected-temperature": 1, "vector": 2, "histogram": 2, "scaling-binning": 2, "beta": 3,
}  # fmt: skip


def wrong(value: Any) -> Iterator[Any]:
    """Values that stand for nothing where this one stands."""
    if isinstance(value, bool | str) or value is None:
        return
    if isinstance(value, int | float):
        yield from (math.nan, math.inf, "1", True)
    elif isinstance(value, Tensor):
        yield value.long()
        yield torch.cat([value, value[:1]])
        if bool(value.isfinite().all()):
            yield torch.where(torch.arange(value.numel()).view_as(value) == value.numel() - 1, -torch.inf, value)
    elif isinstance(value, tuple) and value and isinstance(value[0], int | float):
        yield from (value[:-1], (*value, value[-1]), (*value[:-1], math.nan), "".join(map(str, value)))


@EVERY
def test_each_part_is_refused_where_it_is_wrong_and_the_others_are_right(name: str) -> None:
    calibrator = make(name, toys.logits()[2])
    for field in fields(calibrator):
        if field.name != "fitted":
            for value in wrong(getattr(calibrator, field.name)):
                with pytest.raises((BadInput, BadKind)):
                    replace(calibrator, **{field.name: value})
                    pytest.fail(f"{field.name} = {value} is accepted")


@pytest.mark.parametrize(("name", "numbers"), PER_CLASS.items())
def test_fewer_rows_than_numbers_are_refused_and_as_many_are_not(name: str, numbers: int) -> None:
    z, y, seen = toys.logits(n=400, seed=9)
    own = seen[y].nonzero().squeeze(1)[: numbers * int(seen.sum())]
    find("calibrators", name).fit(z[own], y[own], seen)
    with pytest.raises(BadInput, match=rf"{len(own)} numbers .* cannot be fitted to {len(own) - 1} rows"):
        find("calibrators", name).fit(z[own[1:]], y[own[1:]], seen)
