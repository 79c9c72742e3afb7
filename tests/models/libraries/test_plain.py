"""Plain models: any factory that can be imported, and nothing that a file names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Preprocess
from reclaim.models.checkpoint import Container, save_weights
from reclaim.models.directory import load_model, save_model
from tests import toys


def test_a_factory_with_a_checkpoint_answers_as_the_network_did(tmp_path: Path) -> None:
    made = toys.classifier()
    save_weights(tmp_path / "w.safetensors", made.weights)
    model, x = load_model(f"plain/tests.toys:Net@{tmp_path / 'w.safetensors'}"), torch.randn(4, 3)
    assert torch.equal(model.module.eval()(x), made.module(x)) and model.head == "head"


def test_the_number_of_classes_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(tmp_path / "w.pth", toys.Net(9).state_dict(), Container(".pth"))
    assert load_model(f"plain/tests.toys:Net@{tmp_path / 'w.pth'}").num_outputs == 9


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_model_directory_keeps_weights_classes_and_preprocessing(tmp_path: Path, suffix: str) -> None:
    kept = Preprocess(channels=1, resize=9, crop=8, mean=(0.5,), std=(0.25,))
    made = replace(toys.classifier(), preprocess=kept, seen=("ant",), container=Container(suffix))
    save_model(tmp_path, made)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"model{suffix}", "reclaim.json"])
    back = load_model(f"plain/tests.toys:Net@{tmp_path}")
    assert toys.same(back.weights, made.weights)
    assert (back.classes, back.seen, back.preprocess, back.container) == (
        made.classes,
        ("ant",),
        kept,
        Container(suffix),
    )


def test_a_directory_cannot_name_code_to_run(tmp_path: Path) -> None:
    save_model(tmp_path, toys.classifier())
    with pytest.raises(BadInput, match=r"runs no code that a file names; name it yourself:\n  plain/tests.toys:Net@"):
        load_model(str(tmp_path))


def test_inputs_and_outputs_can_be_said_by_hand() -> None:
    names = tuple("abcdefghij")
    made = load_model("plain/reclaim.networks:digits_cnn", image_size=12, mean=[0.5], std=[0.25], classes=names)
    assert (made.images.resize, made.images.crop, made.images.mean, made.images.std) == (12, 12, (0.5,), (0.25,))
    assert made.classes == names
    for wrong, message in (
        ({"image_size": 0}, "at least 1 pixel; given: 0.\n  Give: image_size="),
        ({"mean": [0.5]}, "go together.\n  Give both: mean=, std="),
        ({"mean": [0.5], "std": [0.0]}, "above 0"),
        ({"classes": names[:3]}, "3 class names were given for 10 classes"),
    ):
        with pytest.raises(BadInput, match=message):
            load_model("plain/reclaim.networks:digits_cnn", **wrong)


def test_our_own_networks_need_no_factory(tmp_path: Path) -> None:
    save_model(tmp_path, replace(load_model("plain/reclaim.networks:digits_cnn"), classes=tuple("0123456789")))
    assert load_model(str(tmp_path)).classes == tuple("0123456789")


def test_weights_that_do_not_fit_are_refused_with_the_first_names(tmp_path: Path) -> None:
    theta = toys.classifier().weights
    save_weights(
        tmp_path / "w.pth", {("old." + n if n == "first.bias" else n): t for n, t in theta.items()}, Container(".pth")
    )
    with pytest.raises(BadInput, match=r"missing: first\.bias\n  unexpected: old\.first\.bias"):
        load_model(f"plain/tests.toys:Net@{tmp_path / 'w.pth'}")
    save_weights(tmp_path / "w.pth", theta | {"first.bias": torch.zeros(4)}, Container(".pth"))
    with pytest.raises(BadInput, match=r"first\.bias has shape \[4\] there, \[11\] in the network"):
        load_model(f"plain/tests.toys:Net@{tmp_path / 'w.pth'}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet50", "neither a directory nor LIBRARY/NAME"),
        ("plain/", "neither a directory nor LIBRARY/NAME"),
        ("plain/tests.toys", "named MODULE:FUNCTION"),
        ("plain/no.such.module:net", "cannot be imported: No module named"),
        ("plain/tests.toys:nothing", "cannot be imported"),
        ("plain/tests.toys:CLASSES", "no function that makes a network, but tuple"),
        ("plain/tests.toys:Net@nowhere.pth", "there is no file nowhere.pth"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_model(spec)


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        load_model(str(tmp_path))
    (tmp_path / "reclaim.json").write_text(json.dumps({"library": "plain", "name": "reclaim.networks:resnet20"}))
    with pytest.raises(BadInput, match="lacks classes, preprocess"):
        load_model(str(tmp_path))
