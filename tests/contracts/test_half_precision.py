"""Logits in half precision are worked on in single precision, and refused where half precision overflowed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from reclaim.calibration.class_shifts import class_shifts
from reclaim.calibration.evidence import Evidence
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.repairs.mixtures import mixed
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.contracts.test_any_device import METRICS, SEEN, Y, Z, arguments, assert_same, made_by, takes_arrays
from tests.contracts.test_every_calibrator import FITS, make

HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
CPU = torch.device("cpu")


def halved(rows: Snapshot, dtype: torch.dtype, *, back: bool) -> Snapshot:
    """The rows in half precision; with `back`, the same numbers in single precision."""
    z = rows.logits.to(dtype)
    return replace(rows, logits=z.float() if back else z)


@HALVES
@pytest.mark.parametrize("name", [name for name in METRICS if "logits" in arguments(METRICS[name])])
def test_a_metric_is_that_of_the_same_numbers_in_single_precision(name: str, dtype: torch.dtype) -> None:
    given = arguments(METRICS[name])
    half, single = (given | {"logits": z} for z in (Z.to(dtype), Z.to(dtype).float()))
    assert_same(made_by(METRICS[name], half), made_by(METRICS[name], single), CPU, 1e-6)


@HALVES
@pytest.mark.parametrize("name", names("selectors"))
def test_an_offset_is_that_of_the_same_numbers_in_single_precision(name: str, dtype: torch.dtype) -> None:
    given = toys.evidence().given()
    half, single = (
        Evidence(**{kind: halved(rows, dtype, back=back) for kind, rows in given.items()}) for back in (False, True)
    )
    assert_same(vars(find("selectors", name)(half)), vars(find("selectors", name)(single)), CPU, 1e-6)


@HALVES
@pytest.mark.parametrize("name", FITS)
def test_a_fit_is_that_of_the_same_numbers_in_single_precision(name: str, dtype: torch.dtype) -> None:
    z, y = Z[SEEN[Y]].to(dtype), Y[SEEN[Y]]
    fit = find("calibrators", name).fit
    torch.testing.assert_close(fit(z, y, SEEN)(Z), fit(z.float(), y, SEEN)(Z), rtol=1e-6, atol=1e-6)


@HALVES
@pytest.mark.parametrize("name", names("calibrators"))
def test_an_answer_is_rounded_once(name: str, dtype: torch.dtype) -> None:
    calibrate, z = make(name, SEEN), Z.to(dtype)
    made, exact = calibrate(z).double(), calibrate(z.double())
    step = torch.finfo(dtype).eps * exact.abs().clamp_min(2**-10)
    assert float(((made - exact).abs() / step).max()) <= 1.01  # of a whole step: half of one, and the next one's border


ASKED: dict[str, Callable[[Snapshot], Any]] = {
    "evaluate": evaluate,
    "class shifts": lambda rows: class_shifts(rows.seen_rows(), rows),
    "class shifts of seen rows": lambda rows: class_shifts(rows.seen_rows()),
    "mixed": lambda rows: mixed(rows.logits, rows.logits.flip(0), 0.3),
}


@HALVES
@pytest.mark.parametrize("name", ASKED)
def test_what_is_made_of_a_snapshot_is_that_of_single_precision(name: str, dtype: torch.dtype) -> None:
    half, single = (ASKED[name](halved(toys.snapshot(), dtype, back=back)) for back in (False, True))
    assert_same(half, single, CPU, 1e-6)


def broken(dtype: torch.dtype, value: float) -> Tensor:
    z = Z.to(dtype).clone()
    z[7, 1], z[9, 0] = value, value
    return z


@HALVES
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_what_overflowed_is_refused_by_its_first_row(dtype: torch.dtype, value: float) -> None:
    z = broken(dtype, value)
    refused = partial(pytest.raises, BadInput, match=r"logits hold -?(inf|nan) in row 7, column 1\.\n.*half precision")
    with refused():
        Snapshot(z, Y, SEEN)
    for name in FITS:
        with refused():
            find("calibrators", name).fit(z, Y, SEEN)
    for function in METRICS.values():
        if takes_arrays(function) and "logits" in (given := arguments(function)):
            with refused():
                function(**given | {"logits": z})


@HALVES
def test_a_sum_beyond_half_precision_is_no_overflow(dtype: torch.dtype) -> None:
    Snapshot(torch.full((3, 7), 6e4).to(dtype), Y[:3], SEEN)
