"""Every calibrator refuses too few rows and numbers that do not fit its classes, and takes the least that it says."""

from dataclasses import fields, replace

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

PER_CLASS = {
    "beta": 3,
    "dirichlet": 2,
    "histogram": 2,
    "matrix": 2,
    "scaling-binning": 2,
    "vector": 2,
}
FITTED = [name for name in names("calibrators") if name not in ("chain", "logit-offset")]
ROWS = toys.snapshot(n=200, c=6).seen_rows()


def fewest(count: int) -> Snapshot:
    """So many rows of three seen classes and an absent one, not all of them right."""
    random = torch.Generator().manual_seed(1)
    seen = torch.tensor([True, True, False, True])
    labels = torch.tensor([0, 1, 3])[torch.arange(count) % 3]
    return Snapshot(torch.randn(count, 4, generator=random), labels, seen)


@pytest.mark.parametrize(("name", "each"), PER_CLASS.items())
def test_it_takes_as_many_rows_as_numbers_and_no_fewer(name: str, each: int) -> None:
    method = find("calibrators", name)
    made = method.fit(fewest(3 * each))
    assert bool(made(fewest(9).logits).isfinite().all())
    with pytest.raises(BadInput, match=rf"{3 * each} numbers \({each} for each of 3 seen classes\)"):
        method.fit(fewest(3 * each - 1))


@pytest.mark.parametrize("name", sorted({*FITTED} - {*PER_CLASS}))
def test_others_take_as_few_as_three_rows(name: str) -> None:
    if name == "constrained":  # its certificate needs more
        made = find("calibrators", name).fit(fewest(3), select="none")
    else:
        made = find("calibrators", name).fit(fewest(3))
    assert bool(made(fewest(9).logits).isfinite().all())


@pytest.mark.parametrize("name", FITTED)
def test_numbers_per_class_are_as_many_as_seen_classes(name: str) -> None:
    made = find("calibrators", name).fit(ROWS)
    k = sum(made.fitted.seen)
    per_class = [
        field.name for field in fields(made) if isinstance(value := vars(made)[field.name], tuple) and len(value) == k
    ]
    for key in per_class:
        if name == "isotonic" and key == "sizes":
            continue
        value = vars(made)[key]
        for wrong in (value[:-1], (*value, value[-1]), ()):
            with pytest.raises(BadInput):
                replace(made, **{key: wrong})


@pytest.mark.parametrize("key", ["a", "b"])
def test_a_slope_of_a_beta_map_is_never_negative(key: str) -> None:
    made = find("calibrators", "beta").fit(ROWS)
    value = vars(made)[key]
    replace(made, **{key: (0.0, *value[1:])})
    with pytest.raises(BadInput, match=key):
        replace(made, **{key: (-0.1, *value[1:])})
