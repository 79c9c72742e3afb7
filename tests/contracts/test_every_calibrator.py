"""What every calibrator must do.

What differs is said by the method's own test file: ``make(seen)`` of one that has no `fit`, and ``READS_ABSENT_ROWS``
of one that takes rows of absent classes, and logits that look like probabilities, without reading them.
"""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reclaim.bridges.modules import as_module
from reclaim.bridges.onnx import save_onnx
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.calibration.protocol import Calibrator, as_affine
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

EVERY = pytest.mark.parametrize("name", names("calibrators"))
FITS = [name for name in names("calibrators") if "fit" in vars(find("calibrators", name))]
FITTED = pytest.mark.parametrize("name", FITS)


def said(name: str) -> dict[str, Any]:
    """What the method's own test file says of it."""
    return vars(importlib.import_module(f"tests.calibration.calibrators.test_{name.replace('-', '_')}"))


def held_out(seen: Tensor, order: Tensor | None = None) -> Snapshot:
    """Rows of seen classes; with `order`, with their classes in that order."""
    z, y, first = toys.logits(n=400, seed=9)
    rows = Snapshot(z, y, first, classes=tuple("abcdefg"), data="toy", split="val").seen_rows()
    return rows if order is None else rows.reordered([rows.classes[column] for column in order])


def make(name: str, seen: Tensor, order: Tensor | None = None) -> Calibrator:
    """One fitted to held-out rows of seen classes; with `order`, to the same rows with their classes in that order."""
    method = find("calibrators", name)
    if "fit" not in vars(method):
        made: Calibrator = said(name)["make"](seen)
        return made
    rows = held_out(seen, order)
    fitted: Calibrator = method.fit(rows.logits, rows.labels, rows.seen)
    return fitted


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_it_keeps_shape_type_and_kind_and_changes_nothing_in_place(name: str, dtype: torch.dtype) -> None:
    z, _, seen = toys.logits()
    z, calibrate = z.to(dtype), make(name, seen)
    kept = z.clone()
    assert calibrate(z).shape == z.shape and calibrate(z).dtype == dtype
    assert isinstance(calibrate(z.numpy()), type(z.numpy())) and calibrate(z.numpy()).dtype == z.numpy().dtype
    assert torch.equal(z, kept)
    assert torch.equal(calibrate(z), torch.from_numpy(calibrate(z.numpy())))
    assert bool(calibrate(z).isfinite().all())


@EVERY
def test_it_treats_rows_independently(name: str) -> None:
    z, _, seen = toys.logits()
    calibrate = make(name, seen)
    torch.testing.assert_close(calibrate(z)[5:9], calibrate(z[5:9]), rtol=1e-6, atol=1e-6)


@EVERY
def test_it_commutes_with_a_permutation_of_the_classes(name: str) -> None:
    z, _, seen = toys.logits()
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    there = make(name, seen[order], order)(z[:, order])
    torch.testing.assert_close(make(name, seen)(z)[:, order], there, rtol=1e-4, atol=1e-4)


@EVERY
def test_rows_that_answered_an_absent_class_still_do(name: str) -> None:
    z, _, seen = toys.logits()
    calibrate = make(name, seen)
    made = calibrate(z)
    lost = (toys.group_margin(z, seen) <= 0) & (toys.group_margin(made, seen) > 0)
    one_line_for_all = as_affine(calibrate) is not None and not calibrate.keeps_order
    assert float(lost.double().mean()) <= (0.02 if one_line_for_all else 0)


@EVERY
def test_the_order_inside_each_group_stays_where_it_is_promised(name: str) -> None:
    z, _, seen = toys.logits()
    calibrate = make(name, seen)
    made = calibrate(z)
    for group in (seen, ~seen) if calibrate.keeps_order else (~seen,):
        order = z[:, group].argsort(dim=1)
        assert bool((made[:, group].gather(1, order).diff(dim=1) >= 0).all())
        assert torch.equal(z[:, group].argmax(dim=1), made[:, group].argmax(dim=1))


@FITTED
def test_absent_classes_survive_where_half_of_a_hundred_are_absent(name: str) -> None:
    z, y, seen = toys.logits(n=4000, c=100, seed=1, sunk=1.0)
    z = 1.5 * z
    rows = seen[y]
    rows[2000:] = False
    calibrate = find("calibrators", name).fit(z[rows], y[rows], seen)
    before, after = (accuracy(logits[2000:], y[2000:], seen) for logits in (z, calibrate(z)))
    assert before.absent is not None and after.absent is not None and before.absent > 0.2
    assert after.absent >= before.absent - 0.01
    assert after.absent_among_absent == before.absent_among_absent
    torch.testing.assert_close(calibrate(z).softmax(dim=1).sum(dim=1), torch.ones(4000))


@FITTED
def test_rows_it_cannot_use_are_refused_with_the_reason(name: str) -> None:
    fit = find("calibrators", name).fit
    z, y, seen = toys.logits()
    rows = seen[y]
    z, y = z[rows], y[rows]
    broken = z.clone()
    broken[3, 2] = torch.nan
    with pytest.raises(BadInput, match="in row 3, column 2"):
        fit(broken, y, seen)
    with pytest.raises(BadInput, match="out of range"):
        fit(z, y + 1, seen)
    with pytest.raises(BadInput, match="give it alone"):
        fit(Snapshot(z, y, seen), y, seen)
    with pytest.raises(BadInput, match="needs labelled rows: give labels"):
        fit(z)
    if "READS_ABSENT_ROWS" in said(name):
        return
    with pytest.raises(BadInput, match=r"the logarithm of the probabilities: logits="):
        fit(z.softmax(dim=1), y, seen)
    with pytest.raises(BadInput, match="of absent classes, the first is row 2"):
        fit(z, y.index_fill(0, torch.tensor([2]), 1), seen)
    with pytest.raises(BadInput, match=r"the rows miss 3 of 7 classes: 1, 3, 5\.\n.*\n.*`seen`"):
        fit(z, y)
    with pytest.raises(BadInput, match="only 1 class is seen"):
        fit(z[y == 0], y[y == 0], torch.arange(7) == 0)
    with pytest.raises(BadInput, match="none were given"):
        fit(z[:0], y[:0], seen)


@FITTED
def test_a_snapshot_brings_the_names_and_the_origin_that_arrays_lack(name: str) -> None:
    z, _, seen = toys.logits()
    rows, fit = held_out(seen), find("calibrators", name).fit
    of_rows, of_arrays = fit(rows), fit(rows.logits, rows.labels, rows.seen)
    assert of_rows.fitted.seen == tuple(seen.tolist()) == of_arrays.fitted.seen
    assert of_rows.fitted.classes == rows.classes and of_rows.fitted.origin == "toy:val"
    assert of_arrays.fitted.origin == "" and of_arrays.fitted.details == of_rows.fitted.details
    assert torch.equal(of_rows(z), of_arrays(z))


@EVERY
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    z, _, seen = toys.logits()
    made = make(name, seen)
    save_calibrator(tmp_path / "calibrator.json", made)
    loaded = load_calibrator(tmp_path / "calibrator.json")
    assert loaded == made
    assert torch.equal(loaded(z), made(z))


@EVERY
def test_an_affine_one_equals_its_affine_map(name: str) -> None:
    z, _, seen = toys.logits()
    made = make(name, seen)
    affine = as_affine(made)
    if affine is not None:
        torch.testing.assert_close(affine(z), made(z))
        scaled = z * affine.scale if affine.scale.ndim == 1 else z @ affine.scale.T
        torch.testing.assert_close(scaled + affine.shift, made(z))


@EVERY
def test_as_a_module_and_as_a_graph_it_answers_the_same(name: str, tmp_path: Path) -> None:
    z, _, seen = toys.logits()
    made = make(name, seen)
    ties = torch.tensor([[0.0] * 7, [1e4] * 7, [-1e4] * 7, [3.0, 3, 3, -3, -3, -3, 3], [1e4, -1e4, 0, 0, 0, 0, 0]])
    rows = torch.cat([z, 30 * z, 1e4 * z, ties, ties.flip(1)])
    module = as_module(made)
    torch.testing.assert_close(module(rows), made(rows), rtol=1e-6, atol=1e-6)
    assert bool(made(rows).isfinite().all())
    assert save_onnx(tmp_path / "calibrator.onnx", module, rows, ("given", "logits"), {}) < 1e-6
