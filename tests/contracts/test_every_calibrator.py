"""What every calibrator must do. Each one's test file says how to make one: ``make(seen) -> calibrator``."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reclaim.calibrators import Calibrator
from reclaim.io import load_calibrator, save_calibrator
from reclaim.plugins import names
from tests import toys

EVERY = pytest.mark.parametrize("name", names("calibrators"))


def make(name: str, seen: Tensor) -> Calibrator:
    module = importlib.import_module(f"tests.calibrators.test_{name.replace('-', '_')}")
    made: Calibrator = module.make(seen)
    return made


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


@EVERY
def test_it_treats_rows_independently(name: str) -> None:
    z, _, seen = toys.logits()
    calibrate = make(name, seen)
    assert torch.equal(calibrate(z)[5:9], calibrate(z[5:9]))


@EVERY
def test_it_commutes_with_a_permutation_of_the_classes(name: str) -> None:
    z, _, seen = toys.logits()
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(make(name, seen)(z)[:, order], make(name, seen[order])(z[:, order]))


@EVERY
def test_it_never_lowers_absent_classes_against_seen_ones(name: str) -> None:
    z, _, seen = toys.logits()
    made = make(name, seen)(z)
    gap = lambda logits: logits[:, seen].amax(1) - logits[:, ~seen].amax(1)  # noqa: E731
    assert bool((gap(made) <= gap(z) + 1e-6).all())


@EVERY
def test_the_order_inside_each_group_stays(name: str) -> None:
    z, _, seen = toys.logits()
    made = make(name, seen)(z)
    for group in (seen, ~seen):
        assert torch.equal(z[:, group].argsort(dim=1), made[:, group].argsort(dim=1))


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
