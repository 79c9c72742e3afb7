"""Small networks of other libraries, written by these libraries alone: what users bring, in tenths of a second."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from reclaim.core.extras import require
from reclaim.models.networks import resnet20, resnet32
from reclaim.models.transformers_inputs import quiet

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


@dataclass(frozen=True)
class Case:
    """A small network of a library.

    Attributes:
        library, architecture: what it is.
        write: makes it with random weights, and writes it as the library does.
        read: reads it as the library does, without Reclaim.
        example: of the kind that it takes, by a number.
        classes: the names that must be given, where the network has none.
        spec: how Reclaim is told of it.
    """

    library: str
    architecture: str
    write: Callable[[Path], None]
    read: Callable[[Path], nn.Module]
    example: Callable[[int], Any]
    classes: tuple[str, ...] | None = None
    spec: Callable[[Path], str] = str


def picture(seed: int) -> Image.Image:
    """An image of noise, higher than wide."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (57, 43, 3), dtype=np.uint8))


def stirred(module: nn.Module) -> nn.Module:
    """The network with no weight at zero, as after training, in evaluation mode."""
    with torch.no_grad():
        for parameter in module.parameters():
            if not bool(parameter.any()):
                parameter.normal_(std=0.02)
    return module.eval()


def of_timm(architecture: str, **numbers: Any) -> Case:
    def write(folder: Path) -> None:
        torch.manual_seed(0)
        timm = require("timm", "timm")
        made = stirred(timm.create_model(architecture, num_classes=len(CLASSES), **numbers))
        config = {"label_names": list(CLASSES)}
        timm.models.save_for_hf(made, str(folder), model_config=config, safe_serialization=True)

    def read(folder: Path) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module: nn.Module = require("timm", "timm").create_model(f"local-dir:{folder}", pretrained=True)
        return module.eval()

    return Case("timm", architecture, write, read, picture)


def of_transformers(
    architecture: str, config: str, numbers: dict[str, Any], processor: str | None = None, **tokens: Any
) -> Case:
    """A network of transformers, with an image processor of that name, or with a tokenizer of words."""

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        library = require("transformers", "transformers")
        about = {"id2label": dict(enumerate(CLASSES)), "label2id": {name: i for i, name in enumerate(CLASSES)}}
        made = stirred(getattr(library, architecture)(getattr(library, config)(**numbers, **about)))
        with quiet():
            made.save_pretrained(folder)
            if processor is not None:
                getattr(library, processor)(size={"height": 32, "width": 32}).save_pretrained(folder)
            else:
                tokenizer(**tokens).save_pretrained(folder)

    def read(folder: Path) -> nn.Module:
        with quiet():
            module: nn.Module = getattr(require("transformers", "transformers"), architecture).from_pretrained(folder)
        return module.eval()

    return Case("transformers", architecture, write, read, picture if processor else sentence)


def of_open_clip(architecture: str, vision: dict[str, Any], **text: Any) -> Case:
    """A network of two towers, with its own tokenizer of 49,408 tokens."""
    config = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, **vision},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1, **text},
    }

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        made = stirred(require("open_clip", "open-clip").CLIP(**config))
        folder.mkdir(exist_ok=True)
        how = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic", "resize_mode": "shortest"}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": how}))
        save_file(made.state_dict(), folder / "open_clip_model.safetensors")

    def read(folder: Path) -> nn.Module:
        library, spec = require("open_clip", "open-clip"), f"local-dir:{folder}"
        towers = library.create_model(spec).eval()
        if (folder / "head.safetensors").is_file():
            head = load_file(folder / "head.safetensors")
        else:
            words = library.get_tokenizer(spec)
            directions = library.build_zero_shot_classifier(towers, words, CLASSES, library.SIMPLE_IMAGENET_TEMPLATES)
            head = {"weight": towers.logit_scale.exp() * directions.T, "bias": torch.zeros(len(CLASSES))}
        return Alone(towers, head)

    return Case("open-clip", architecture, write, read, picture, classes=CLASSES)


def of_a_file(library: str, architecture: str, make: Callable[[], nn.Module]) -> Case:
    """A network whose library has no directories: its weights in a file."""

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        folder.mkdir(exist_ok=True)
        save_file(stirred(make()).state_dict(), folder / "model.safetensors")

    def read(folder: Path) -> nn.Module:
        module = make()
        module.load_state_dict(load_file(folder / "model.safetensors"))
        return module.eval()

    def spec(folder: Path) -> str:
        return f"{library}/{architecture}@{folder / 'model.safetensors'}"

    return Case(library, architecture, write, read, picture, CLASSES, spec)


def of_torchvision(architecture: str) -> Case:
    def make() -> nn.Module:
        zoo = require("torchvision.models", "torchvision")
        module: nn.Module = zoo.get_model(architecture, weights=None, num_classes=len(CLASSES))
        return module

    return of_a_file("torchvision", architecture, make)


class Alone(nn.Module):
    """What the page on models shows for a network of open_clip without Reclaim."""

    def __init__(self, towers: Any, head: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.towers, self.head = towers, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.towers.encode_image(x, normalize=True) @ self.head["weight"].T + self.head["bias"]


WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "sat", "on", "a", "mat", "fox", "ran", "home")


def tokenizer(limit: int = 12, side: str = "right") -> Any:
    """A tokenizer of a dozen words."""
    parts = require("tokenizers", "transformers")
    words = parts.Tokenizer(parts.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = parts.pre_tokenizers.Whitespace()
    return require("transformers", "transformers").PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=limit, padding_side=side
    )


def sentence(seed: int) -> str:
    """A text of three to twenty words."""
    random = np.random.default_rng(seed)
    return " ".join(random.choice(WORDS[4:], size=int(random.integers(3, 20))))


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT = {"vocab_size": len(WORDS), "max_position_embeddings": 16, "pad_token_id": 0}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}

CASES = (
    of_timm("test_resnet"),
    of_timm("test_vit"),
    of_timm("test_convnext"),
    of_timm("test_byobnet"),
    of_timm("test_nfnet"),
    of_timm("test_efficientnet"),
    of_timm("dla46_c"),
    of_timm("deit_tiny_distilled_patch16_224", depth=1, embed_dim=24, num_heads=2, img_size=32),
    of_transformers(
        "ViTForImageClassification", "ViTConfig", {**TINY, "image_size": 32, "patch_size": 8}, "ViTImageProcessor"
    ),
    of_transformers(
        "DeiTForImageClassificationWithTeacher",
        "DeiTConfig",
        {**TINY, "image_size": 32, "patch_size": 8},
        "ViTImageProcessor",
    ),
    of_transformers(
        "ResNetForImageClassification",
        "ResNetConfig",
        {**STAGES, "embedding_size": 8, "layer_type": "basic"},
        "ViTImageProcessor",
    ),
    of_transformers(
        "ConvNextV2ForImageClassification", "ConvNextV2Config", {**STAGES, "num_stages": 2}, "ViTImageProcessor"
    ),
    of_transformers(
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        {"depth_multiplier": 0.25, "initializer_range": 0.2},
        "ViTImageProcessorPil",
    ),
    of_transformers(
        "SwinForImageClassification",
        "SwinConfig",
        {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
        "ViTImageProcessor",
    ),
    of_transformers("BertForSequenceClassification", "BertConfig", {**TINY, **TEXT}),
    of_transformers("RobertaForSequenceClassification", "RobertaConfig", {**TINY, **TEXT}),
    of_transformers(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {**TEXT, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    ),
    of_transformers("ElectraForSequenceClassification", "ElectraConfig", {**TINY, **TEXT, "embedding_size": 8}),
    of_transformers("MPNetForSequenceClassification", "MPNetConfig", {**TINY, **TEXT}),
    of_open_clip("CLIP of a transformer", {"layers": 1, "width": 16, "head_width": 8, "patch_size": 8}),
    of_open_clip("CLIP of a residual network", {"layers": [1, 1, 1, 1], "width": 8}),
    of_torchvision("regnet_y_400mf"),
    of_torchvision("shufflenet_v2_x0_5"),
    of_a_file("reclaim", "resnet20", partial(resnet20, len(CLASSES))),
    of_a_file("plain", "reclaim.networks:resnet32", partial(resnet32, len(CLASSES))),
)
