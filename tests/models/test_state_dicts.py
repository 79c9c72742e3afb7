"""Checkpoints as trainers leave them: prefixes, two sets of weights, other things beside them, types."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reclaim.core.errors import BadInput
from reclaim.models.checkpoint import Container, load_weights
from reclaim.models.directory import load_model, save_model
from reclaim.models.loading import fitted
from tests import toys

RAW, MEAN = toys.classifier(0).weights, toys.classifier(1).weights
SPEC = "plain/tests.toys:Net@"


def prefixed(theta: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in theta.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.",
        "net.",
        "backbone.",
        "learner.student.",
    ],
)
@pytest.mark.parametrize("nest", [None, "state_dict", "model", "net"])
def test_a_prefix_goes_by_itself_is_said_and_comes_back(tmp_path: Path, caplog, prefix: str, nest: str | None) -> None:
    state = prefixed(RAW, prefix)
    torch.save({nest: state, "epoch": 3, "optimizer": {"lr": 0.1}} if nest else state, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING, "reclaim.models.state_dicts"):
        model = load_model(f"{SPEC}{tmp_path / 'w.pth'}")
    assert toys.same(dict(model.weights), dict(RAW))
    assert [m for m in caplog.messages if f"{prefix!r} was taken off" in m]
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", model)
    back = torch.load(tmp_path / "out/model.pth", weights_only=True)
    assert toys.same(back[nest] if nest else back, state)


def test_a_prefix_stays_where_the_network_has_it_too(tmp_path: Path, caplog) -> None:
    inner = torch.nn.Sequential()
    inner.add_module("module", torch.nn.Linear(3, 2))
    torch.save(inner.state_dict(), tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        weights, container = load_weights(tmp_path / "w.pth", inner.state_dict())
    assert toys.same(weights, dict(inner.state_dict())) and container.prefix == "" and not caplog.messages


def test_what_is_no_weight_is_left_aside_and_named(tmp_path: Path, caplog) -> None:
    torch.save(dict(RAW) | {"epoch": 3, "criterion": {"w": torch.ones(2)}, 7: "x"}, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        assert toys.same(load_weights(tmp_path / "w.pth", RAW)[0], dict(RAW))
    assert caplog.messages == [f"{tmp_path / 'w.pth'}: left aside: epoch, criterion, 7."]
    torch.save(prefixed(RAW, "model.") | {"criterion.weight": torch.ones(2)}, tmp_path / "w.pth")
    assert toys.same(load_weights(tmp_path / "w.pth", RAW)[0], dict(RAW))
    assert "left aside: criterion.weight" in caplog.messages[-1]


def test_an_averaged_model_loads_and_goes_back_into_torchs_own_class(tmp_path: Path, caplog) -> None:
    made = torch.optim.swa_utils.AveragedModel(toys.Net())
    made.update_parameters(toys.Net())
    torch.save(made.state_dict(), tmp_path / "w.pth")
    model = load_model(f"{SPEC}{tmp_path / 'w.pth'}")
    assert toys.same(dict(model.weights), dict(made.module.state_dict()))
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", model)
    again = torch.optim.swa_utils.AveragedModel(toys.Net())
    again.load_state_dict(torch.load(tmp_path / "out/model.pth", weights_only=True))
    assert int(again.n_averaged) == 1
    with caplog.at_level(logging.WARNING):
        load_model(f"{SPEC}{tmp_path / 'w.pth'}", weights="raw")
    assert "holds no raw weights; the only ones there are taken (behind 'module.')" in caplog.text


TWO = {
    "timm": {"state_dict": RAW, "state_dict_ema": MEAN, "epoch": 3},
    "torchvision": {"model": RAW, "model_ema": prefixed(MEAN, "module.") | {"n_averaged": torch.tensor(4)}},
    "ema": {"model": prefixed(RAW, "module."), "ema": MEAN},
    "nested": {"state_dict": RAW, "ema": {"decay": 0.99, "module": MEAN}},
    "reversed": {"ema_state_dict": MEAN, "state_dict": RAW},
    "basicsr": {"params": RAW, "params_ema": MEAN},
    "beside": prefixed(RAW, "model.") | prefixed(MEAN, "model_ema.module."),
    "top": dict(RAW) | prefixed(MEAN, "ema_model."),
    "with the raw at the top": dict(RAW) | {"ema": MEAN},
}


@pytest.mark.parametrize("form", TWO)
def test_of_two_sets_the_averaged_is_taken_and_said_and_either_can_be_asked_for(
    tmp_path: Path, caplog, form: str
) -> None:
    torch.save(TWO[form], tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING, "reclaim.models.state_dicts"):
        model = load_model(f"{SPEC}{tmp_path / 'w.pth'}")
    assert toys.same(dict(model.weights), dict(MEAN))
    assert any("raw weights" in m and "the averaged are taken" in m for m in caplog.messages)
    assert toys.same(dict(load_model(f"{SPEC}{tmp_path / 'w.pth'}", weights="averaged").weights), dict(MEAN))
    assert toys.same(dict(load_model(f"{SPEC}{tmp_path / 'w.pth'}", weights="raw").weights), dict(RAW))
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", model)
    assert toys.same(load_weights(tmp_path / "out/model.pth", RAW)[0], dict(MEAN))


def test_averages_that_do_not_fit_leave_the_raw_weights(tmp_path: Path, caplog) -> None:
    torch.save({"model": RAW, "ema": {"num_updates": torch.tensor(9)}}, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        assert toys.same(load_weights(tmp_path / "w.pth", RAW)[0], dict(RAW))
    assert "the raw are taken, for the others do not fit" in caplog.messages[0]


@pytest.mark.parametrize(
    ("key", "beside"),
    [
        ("best_model", MEAN),
        ("ema", {"decay": 0.9, "num_updates": 3, "shadow_params": list(MEAN.values())}),
        ("g_ema", {"weights": prefixed(MEAN, "module.")}),
    ],
    ids=["another key", "a list without names", "inside"],
)
def test_weights_under_a_key_that_nobody_knows_are_said_to_be_left(tmp_path: Path, caplog, key: str, beside) -> None:
    momentum = {"state": {i: {"momentum_buffer": tensor} for i, tensor in enumerate(MEAN.values())}}
    torch.save({"model": RAW, "optimizer": momentum, "epoch": 3}, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        load_weights(tmp_path / "w.pth", RAW)
        assert not caplog.messages
        torch.save({"model": RAW, "optimizer": momentum, key: beside}, tmp_path / "w.pth")
        assert toys.same(load_weights(tmp_path / "w.pth", RAW)[0], RAW)
    assert [m.partition(": ")[2] for m in caplog.messages] == [
        f"'{key}' may hold other weights of the same network, and are not read: no key says which they are."
    ]


def test_a_single_set_is_no_choice(tmp_path: Path, caplog) -> None:
    torch.save({"state_dict": RAW}, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        assert toys.same(load_weights(tmp_path / "w.pth", RAW, "raw")[0], dict(RAW))
        assert not caplog.messages
        assert toys.same(load_weights(tmp_path / "w.pth", RAW, "averaged")[0], dict(RAW))
    assert "holds no averaged weights; the only ones there are taken (under 'state_dict')" in caplog.text


def test_two_sets_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    torch.save(prefixed(RAW, "student.") | prefixed(MEAN, "teacher."), tmp_path / "w.pth")
    with pytest.raises(BadInput, match=r"several sets of weights that fit, behind 'student.' and 'teacher.'"):
        load_weights(tmp_path / "w.pth", RAW)


def test_names_that_nearly_fit_are_said_to(tmp_path: Path) -> None:
    theta = {name: value for name, value in RAW.items() if name != "first.weight"}
    torch.save(prefixed(theta, "model."), tmp_path / "w.pth")
    with pytest.raises(BadInput, match=r"Without 'model.' \d of the \d missing names would be there, but not all"):
        load_model(f"{SPEC}{tmp_path / 'w.pth'}")


KINDS = {
    "int8": (lambda t: t.to(torch.int8), r"'first.weight' is no floating-point number .* \(torch.int8\)"),
    "int64": (lambda t: t.to(torch.int64), r"torch.int64"),
    "bool": (lambda t: t.bool(), r"torch.bool"),
    "complex": (lambda t: t.to(torch.complex64), r"torch.complex64"),
    "float8": (lambda t: t.to(torch.float8_e4m3fn), r"torch.float8"),
    "sparse": (lambda t: t.to_sparse(), r"'first.weight' is sparse"),
    "meta": (lambda t: t.to("meta"), r"has no values"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_no_floating_type_are_refused_by_name_and_type(kind: str) -> None:
    change, message = KINDS[kind]
    theta = dict(RAW) | {"first.weight": change(RAW["first.weight"])}
    with pytest.raises(BadInput, match=message):
        fitted(toys.classifier(2), theta, Path("w.pth"))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_of_every_floating_type_load_beside_whole_buffers(tmp_path: Path, kind: torch.dtype) -> None:
    theta = {name: value.to(kind) if value.is_floating_point() else value.int() for name, value in RAW.items()}
    save_file(theta, tmp_path / "w.safetensors")
    weights, container = load_weights(tmp_path / "w.safetensors", RAW)
    made = fitted(toys.classifier(2), weights, Path("w")).weights
    for name, value in RAW.items():
        torch.testing.assert_close(made[name], value.to(kind).to(value.dtype))
    assert container == Container(dtype=kind if kind.itemsize == 2 else None)
