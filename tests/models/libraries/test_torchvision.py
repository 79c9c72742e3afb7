"""torchvision: every architecture has a head we find, and its preset is ours."""

import importlib.util
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.data.classes.imagenet import imagenet_ids
from reclaim.data.inputs.image import Preprocess
from reclaim.models.checkpoint import Container, load_weights, save_weights
from reclaim.models.directory import load_model
from reclaim.models.head import find_head, fold
from reclaim.models.libraries.torchvision import _preset

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)
zoo = require("torchvision.models", extra="torchvision")


CANNOT_BE_BUILT_WITHOUT_MEMORY = "regnet"  # its widths are computed with tensors; one of the family is tested below


@pytest.mark.parametrize("name", [n for n in zoo.list_models(module=zoo) if CANNOT_BE_BUILT_WITHOUT_MEMORY not in n])
def test_the_head_of_every_architecture_answers_every_class(name: str) -> None:
    with torch.device("meta"):
        module = zoo.get_model(
            name, weights=None, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})
        )
    assert module.get_submodule(find_head(module)).weight.shape[0] == 1000


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("squeezenet1_1", "classifier.1"),  # goes on: a ReLU, an average
        ("resnet18", "fc"),
        ("googlenet", "fc"),  # two auxiliary heads
        ("mobilenet_v3_small", "classifier.3"),
    ],
)
def test_the_head_is_traced_whatever_is_registered_last(name: str, head: str) -> None:
    torch.manual_seed(0)
    module = zoo.get_model(name, weights=None, **({"init_weights": False} if name == "googlenet" else {}))
    module.projection = torch.nn.Linear(8, 1000)
    assert find_head(module, Preprocess(channels=3, crop=64)) == head


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b1", "vit_b_16"])
@pytest.mark.parametrize("size", [(80, 60), (300, 401), (224, 224)])
def test_our_preprocessing_is_the_preset_pixel_for_pixel(name: str, size: tuple[int, int]) -> None:
    preset = zoo.get_model_weights(name).DEFAULT.transforms()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    torch.testing.assert_close(_preset(preset)(image), preset(image), atol=1e-6, rtol=0)


def test_a_checkpoint_with_another_number_of_classes_builds_such_a_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(tmp_path / "w.pth", zoo.resnet18(num_classes=7).state_dict(), Container(".pth"))
    model = load_model(f"torchvision/resnet18@{tmp_path / 'w.pth'}")
    assert model.num_outputs == 7 and not model.namings


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_x_400mf"])
def test_a_folded_checkpoint_loads_with_plain_torchvision_and_adds_the_offset(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    save_weights(tmp_path / "w.safetensors", zoo.get_model(name, num_classes=5).state_dict())
    model = load_model(f"torchvision/{name}@{tmp_path / 'w.safetensors'}").bind(tuple("abcde"))
    offset = LogitOffset(3.5, Fitted((True, False, True, False, False), tuple("abcde")))
    save_weights(tmp_path / "folded.safetensors", fold(model, offset.affine(model.classes)).weights)
    plain = zoo.get_model(name, num_classes=5)
    plain.load_state_dict(load_weights(tmp_path / "folded.safetensors")[0])
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(plain.eval()(x), offset(model.module.eval()(x)), atol=1e-5, rtol=1e-5)


def test_imagenet_classes_answer_to_ids_and_words(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.pth", zoo.squeezenet1_1().state_dict(), Container(".pth"))
    model = load_model(f"torchvision/squeezenet1_1@{tmp_path / 'w.pth'}")
    assert model.bind(("n01443537", "n01440764")).columns(("n01443537",)).tolist() == [1]
    assert model.bind(("goldfish",)).classes[0] == "tench"
    assert len(set(imagenet_ids())) == 1000 and list(imagenet_ids()) == sorted(imagenet_ids())


def test_an_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"no torchvision model called 'resnet5' among .*; the nearest: resnet50"):
        load_model("torchvision/resnet5")


def test_weights_of_another_architecture_are_refused_with_the_first_names(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.pth", zoo.squeezenet1_1().state_dict(), Container(".pth"))
    with pytest.raises(BadInput, match=r"missing: conv1\.weight, .*\n  unexpected: features\.0\.weight"):
        load_model(f"torchvision/resnet18@{tmp_path / 'w.pth'}")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("fasterrcnn_resnet50_fpn", "a detector"),
        ("fcn_resnet50", "a model that labels each pixel"),
        ("r3d_18", "a classifier of videos"),
        ("quantized_resnet18", "a quantised network"),
        ("raft_small", "a model of motion"),
    ],
)
def test_a_model_for_another_task_is_called_what_it_is(name: str, what: str) -> None:
    with pytest.raises(BadInput, match=f"torchvision's {name} is {what}"):
        load_model(f"torchvision/{name}")


def test_weights_that_cannot_be_had_name_the_form_for_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise OSError("nobody there")

    monkeypatch.setattr(socket, "create_connection", nobody)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match=r"cannot be reached: nobody there(?s:.)*torchvision/resnet18@FILE"):
        load_model("torchvision/resnet18")
