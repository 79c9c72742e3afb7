"""Real weights, written as timm and transformers write them, answer through the wrappers what they answered before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reclaim.core.extras import require
from reclaim.data.load import load_data
from reclaim.models.directory import load_model
from reclaim.models.forward import logits_of
from reclaim.models.transformers_inputs import quiet

pytestmark = pytest.mark.real


def in_order(network: nn.Module, theta: dict[str, Tensor]) -> None:
    """Fill a network whose layers come in the order of other weights, and have their shapes."""
    own = network.state_dict()
    assert [tensor.shape for tensor in own.values()] == [tensor.shape for tensor in theta.values()]
    network.load_state_dict(dict(zip(own, theta.values(), strict=True)))


@pytest.fixture(scope="module")
def mobilenet(real_data: Path) -> Any:
    return load_model(f"torchvision/mobilenet_v2@{real_data / 'weights' / 'mobilenet_v2_imagenet1k.safetensors'}")


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_mobilenet_answers_what_it_does_in_torchvision(
    library: str, mobilenet: Any, real_data: Path, tmp_path: Path
) -> None:
    if library == "timm":
        timm = require("timm", "timm")
        network = timm.create_model("mobilenetv2_100").eval()
        in_order(network, mobilenet.weights)
        timm.models.save_for_hf(network, str(tmp_path), safe_serialization=True)
    else:
        own = require("transformers", "transformers")
        config = own.MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5, num_labels=1000, finegrained_output=True)
        network = own.MobileNetV2ForImageClassification(config).eval()
        in_order(network, mobilenet.weights)
        with quiet():
            network.save_pretrained(tmp_path)
            how = {"image_mean": list(mobilenet.images.mean), "image_std": list(mobilenet.images.std)}
            own.MobileNetV2ImageProcessor(size={"shortest_edge": 256}, crop_size=224, **how).save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    rows = load_data(str(real_data / "images" / "imagenet_samples_160px.npz")).splits["all"]
    examples = [rows.read(i) for i in range(4)]
    expected = logits_of(mobilenet.module.eval(), mobilenet.inputs(*examples)).detach()
    same_pixels = mobilenet.inputs(*examples)
    x = same_pixels if library == "timm" else {"pixel_values": same_pixels}
    torch.testing.assert_close(logits_of(model.module, x).detach(), expected, rtol=1e-3, atol=1e-3)
    own_pixels = logits_of(model.module, model.inputs(*examples)).detach()
    assert (own_pixels.argmax(1) == expected.argmax(1)).float().mean() >= 0.75, "the library resizes a little otherwise"
    assert model.namings and model.namings[-1][0] == "n01440764"


def test_minilm_with_a_head_takes_sentences(real_data: Path, tmp_path: Path) -> None:
    own = require("transformers", "transformers")
    source = real_data / "weights" / "minilm_l6"
    intents = ("book a flight", "tell a joke", "pay a bill", "weather", "greeting")
    torch.manual_seed(0)
    with quiet():
        network = own.BertForSequenceClassification.from_pretrained(source, num_labels=len(intents)).float().eval()
        network.config.id2label = dict(enumerate(intents))
        network.config.label2id = {name: i for i, name in enumerate(intents)}
        network.save_pretrained(tmp_path)
        tokenizer = own.AutoTokenizer.from_pretrained(source)
        tokenizer.save_pretrained(tmp_path)
    texts = [row[0] for row in json.loads((real_data / "text" / "clinc150_full.json").read_text())["data"]["test"][:6]]
    texts.append(" ".join(["word"] * 700))
    model = load_model(str(tmp_path))
    expected = network(**tokenizer(texts, truncation=True, padding=True, return_tensors="pt")).logits
    made = model.inputs(*texts)
    assert made["input_ids"].shape == (7, 512) and model.classes == intents and model.head == "classifier"
    torch.testing.assert_close(logits_of(model.module, made), expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(expected.detach().numpy()).all()
