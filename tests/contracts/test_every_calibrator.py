"""What every calibrator must do. One without a `fit` has a ``make(seen)`` in its test file."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reclaim.bridges.modules import as_module
from reclaim.bridges.onnx import save_onnx
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.calibration.protocol import Calibrator
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.snapshots.metrics.accuracy import accuracy
from tests import toys

EVERY = pytest.mark.parametrize("name", names("calibrators"))
FITTED = pytest.mark.parametrize("name", [name for name in names("calibrators") if name != "chain"])


def make(name: str, seen: Tensor, order: Tensor | None = None) -> Calibrator:
    """One fitted to held-out rows of seen classes; with `order`, to the same rows with their classes in that order."""
    method = find("calibrators", name)
    if not hasattr(method, "fit"):
        module = importlib.import_module(f"tests.calibration.calibrators.test_{name.replace('-', '_')}")
        made: Calibrator = module.make(seen)
        return made
    z, y, first = toys.logits(n=400, seed=9)
    keep = first[y]
    z, y = z[keep], y[keep]
    fitted: Calibrator = method.fit(*((z, y, first) if order is None else (z[:, order], order.argsort()[y], seen)))
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
    gap = lambda logits: logits[:, seen].amax(1) - logits[:, ~seen].amax(1)  # noqa: E731
    lost = (gap(z) <= 0) & (gap(made) > 0)
    one_line_for_all = hasattr(calibrate, "affine") and not getattr(calibrate, "keeps_order", True)
    assert float(lost.double().mean()) <= (0.02 if one_line_for_all else 0)


@EVERY
def test_the_order_inside_each_group_stays_where_it_is_promised(name: str) -> None:
    z, _, seen = toys.logits()
    calibrate = make(name, seen)
    made = calibrate(z)
    for group in (seen, ~seen) if getattr(calibrate, "keeps_order", True) else (~seen,):
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
    if name == "logit-offset":
        return  # it leaves rows of absent classes out unread, and needs no probabilities
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
    if hasattr(made, "affine"):
        affine = made.affine()
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
