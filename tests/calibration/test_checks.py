"""A calibrator exists only with numbers that make sense, whoever makes it."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reclaim.calibration import files
from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.checks import check_functions, check_number
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput, BadKind
from reclaim.core.registry import find, names
from reclaim.repairs.mixtures import OutputMixture
from tests import toys

Z, Y, SEEN = toys.logits()
FITTED = Fitted(tuple(SEEN.tolist()))
HELD_OUT = SEEN[Y]
POSITIVE = {  # what must be above 0, written down here and not read from the class
    "temperature": "temperature", "beta": "temperature", "bias-corrected-temperature": "temperature",
    "constrained": "temperature", "dirichlet": "scale", "ensemble-temperature": "temperature",
    "histogram": "temperature", "isotonic": "temperature", "order-preserving": "scale",
    "parametrised-temperature": "temperature", "scaling-binning": "temperature", "spline": "scale",
}  # fmt: skip


@cache
def fitted(name: str) -> Any:
    return find("calibrators", name).fit(Z[HELD_OUT], Y[HELD_OUT], SEEN)


EVERY = pytest.mark.parametrize("name", [name for name in names("calibrators") if name != "chain"])


@pytest.mark.parametrize(("name", "field"), POSITIVE.items())
@pytest.mark.parametrize("value", [0.0, -1.0, inf, -inf, nan, 1e39, 1e-40, True, "1", None])
def test_a_temperature_is_a_positive_finite_number(name: str, field: str, value: object) -> None:
    with pytest.raises((BadInput, BadKind), match=f"{field} must be a (finite )?number"):
        replace(fitted(name), **{field: value})


@EVERY
def test_every_number_of_every_calibrator_is_finite(name: str) -> None:
    """But for the edges and missing values of bins."""
    made = fitted(name)
    for field, value in vars(made).items():
        for wrong in (inf, nan, "1"):
            if isinstance(value, float):
                changed: object = wrong
            elif isinstance(value, tuple) and value and isinstance(value[0], float):
                changed = (*value[:-1], wrong)
            elif isinstance(value, Tensor) and wrong != "1" and (name, field) not in {
                ("histogram", "values"), ("histogram", "edges"), ("scaling-binning", "edges")
            }:  # fmt: skip
                changed = value.clone()
                changed.view(-1)[-1] = wrong
            else:
                continue
            with pytest.raises((BadInput, BadKind)):
                replace(made, **{field: changed})


@EVERY
def test_what_there_is_one_of_for_each_class_is_neither_more_nor_less(name: str) -> None:
    made = fitted(name)
    for field, value in vars(made).items():
        if isinstance(value, tuple) and value and not (name == "isotonic" and field == "sizes"):
            for changed in (value[:-1], (*value, value[0])):
                with pytest.raises(BadInput):
                    replace(made, **{field: changed})
        if isinstance(value, Tensor):
            for other in (value[:-1], torch.cat([value, value]), value[None], value.flatten()[:1], value.int()):
                with pytest.raises((BadInput, BadKind)):
                    replace(made, **{field: other})


def test_the_bounds_are_those_of_single_precision() -> None:
    check_number("x", 3.4e38, above=0)
    check_number("x", 1.2e-38, above=0)
    check_number("x", -3.4e38)
    check_number("x", 0, least=0)
    for value, bounds in ((3.5e38, {}), (1e-38, {"above": 0}), (-1e-9, {"least": 0}), (10**400, {})):
        with pytest.raises(BadInput, match="x must be a finite number"):
            check_number("x", value, **bounds)


def test_bins_and_knots_ascend_and_hold_probabilities() -> None:
    x, y = torch.tensor([0.1, 0.5, 0.2, 0.9]).double(), torch.tensor([0.0, 1.0, 0.5, 0.5]).double()
    check_functions(x, y, (2, 2))
    for sizes, message in (((4,), "ascend"), ((2, 3), "shape"), ((4, 0), "at least one"), ((), "at least one")):
        with pytest.raises(BadInput, match=message):
            check_functions(x, y, sizes)
    with pytest.raises(BadInput, match="from 0 to 1"):
        check_functions(x, y + 0.1, (2, 2))
    with pytest.raises(BadInput, match="to infinity"):
        check_functions(x, y, (2, 2), steps=True)
    edges = torch.tensor([0.1, inf, inf]).double()
    check_functions(edges, torch.tensor([0.0, 1.0, nan]).double(), (2, 1), steps=True, missing=True)
    with pytest.raises(BadInput, match="finite"):
        check_functions(edges, torch.tensor([0.0, 1.0, nan]).double(), (2, 1), steps=True)
    with pytest.raises(BadKind, match="whole numbers"):
        check_functions(x, y, (2.0, 2.0))  # type: ignore[arg-type]


def test_weights_of_an_ensemble_sum_to_one_and_a_ratio_is_positive() -> None:
    with pytest.raises(BadInput, match="sum to one"):
        replace(fitted("ensemble-temperature"), weights=(0.5, 0.5, 0.1))
    with pytest.raises(BadInput, match=r"weights\[2\] must be a finite number of at least 0"):
        replace(fitted("ensemble-temperature"), weights=(0.6, 0.6, -0.2))
    with pytest.raises(BadInput, match="ratio must be a finite number above 0"):
        replace(fitted("constrained"), ratio=0.0)
    with pytest.raises(BadInput, match=r"a\[0\] must be a finite number of at least 0"):
        made = fitted("beta")
        replace(made, a=(-0.1, *made.a[1:]))


def test_what_a_fit_left_behind_fits_together() -> None:
    with pytest.raises(BadInput, match="2 class names were given for 3 classes"):
        Fitted((True, False, True), ("a", "b"))
    with pytest.raises(BadInput, match="given more than once: a"):
        Fitted((True, False), ("a", "a"))
    with pytest.raises(BadKind, match="one bool per class"):
        Fitted((1, 0))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="other numbers of classes: 2, 7"):
        Chain((Temperature(2.0, Fitted((True, True))), fitted("temperature")))
    with pytest.raises(BadInput, match="shifts must be 7 numbers, one for each class; given: 2"):
        LogitOffset(1.0, FITTED, shifts=(0.0, 1.0))
    for alpha in (-0.1, 1.1, nan, inf):
        with pytest.raises(BadInput, match="alpha must be"):
            OutputMixture(alpha, LogitOffset(1.0, FITTED))


LIES: list[object] = [None, True, -1, 1.5, "x", [], {}, [[]], [None], {"method": "temperature"}, {"tensor": "weights"}]


@EVERY
def test_a_file_with_any_field_of_another_kind_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    """Or it is a number in place of a number, which a file may hold."""
    path = tmp_path / "c.json"
    save_calibrator(path, fitted(name))
    record = json.loads(path.read_text())
    for key, value in record.items():
        for lie in LIES:
            same_kind = isinstance(lie, type(value)) or (isinstance(value, float) and lie == -1)
            if same_kind or (key, lie) == ("guarantee", None) or value is None or value == []:
                continue
            path.write_text(json.dumps(record | {key: lie}))
            with pytest.raises(BadInput, match=r"c\.json"):
                load_calibrator(path)
    path.write_text(json.dumps(record))
    assert load_calibrator(path) == fitted(name)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-1", "0", "1e39", "true", '"2"'])
def test_a_file_with_a_temperature_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(f'{{"method": "temperature", "temperature": {text}, "seen": [true, true]}}')
    with pytest.raises((BadInput, BadKind), match=r"c\.json"):
        load_calibrator(path)


def test_a_chain_in_a_chain_in_a_chain_has_an_end(tmp_path: Path) -> None:
    path, inner = tmp_path / "c.json", '{"method": "temperature", "temperature": 2.0, "seen": [true, true]}'
    for depth, refused in ((10, False), (40, True), (2000, True)):
        path.write_text('{"method": "chain", "steps": [' * depth + inner + "]}" * depth)
        if refused:
            with pytest.raises(BadInput, match="nested deeper"):
                load_calibrator(path)
        else:
            torch.testing.assert_close(load_calibrator(path)(Z[:, :2]), Z[:, :2] / 2)


def test_tensors_with_a_right_checksum_are_checked_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    save_calibrator(path, fitted("matrix"))
    record = json.loads(path.read_text())
    beside = tmp_path / record["tensors"]["file"]
    weights = load_file(beside)["weights"]
    for wrong, message in (
        (weights[:-1].clone(), "has the shape"), (weights.int(), "floating-point"), (weights * nan, "finite"),
        (None, "its tensor 'weights' is lost"),
    ):  # fmt: skip
        save_file({} if wrong is None else {"weights": wrong}, beside)
        record["tensors"]["sha256"] = hashlib.sha256(beside.read_bytes()).hexdigest()
        path.write_text(json.dumps(record))
        with pytest.raises((BadInput, BadKind), match=rf"c\.json.*{message}"):
            load_calibrator(path)


class Killed(BaseException):
    """As if the process ended here."""


def test_whenever_replacing_a_pair_stops_a_whole_pair_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = fitted("matrix"), replace(fitted("matrix"), weights=fitted("matrix").weights * 2)
    real = {name: getattr(Path, name) for name in ("replace", "unlink")}
    found = []
    for stop in range(20):
        folder = tmp_path / str(stop)
        folder.mkdir()
        save_calibrator(folder / "c.json", old)
        left = [stop]

        def counted(name: str, left: list[int] = left):
            def call(self: Path, *given: object, **named: object) -> object:
                if left[0] <= 0:
                    raise Killed
                left[0] -= 1
                return real[name](self, *given, **named)

            return call

        for name in real:
            monkeypatch.setattr(Path, name, counted(name))
        try:
            save_calibrator(folder / "c.json", new)
            killed = False
        except Killed:
            killed = True
        monkeypatch.undo()
        found.append(load_calibrator(folder / "c.json")(Z))
        if not killed:
            break
    assert torch.equal(found[0], old(Z)) and torch.equal(found[-1], new(Z)) and len(found) > 3
    assert all(torch.equal(one, old(Z)) or torch.equal(one, new(Z)) for one in found)
    assert len(list(folder.iterdir())) == 2


def test_a_failed_write_keeps_the_old_pair_and_foreign_files_are_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = tmp_path / "c.json", fitted("matrix")
    save_calibrator(path, old)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(place: Path, record: object) -> None:
        raise OSError(28, "No space left on device", str(place))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(files, "write_json", full)
        save_calibrator(path, replace(old, weights=old.weights * 2))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    (tmp_path / "thesis.tensors.safetensors").write_text("mine")
    checksum = hashlib.sha256(b"mine").hexdigest()
    path.write_text(json.dumps({"tensors": {"file": "thesis.tensors.safetensors", "sha256": checksum}}))
    save_calibrator(path, fitted("temperature"))
    assert (tmp_path / "thesis.tensors.safetensors").read_text() == "mine"
