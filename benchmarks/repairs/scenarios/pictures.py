"""Published networks for photographs: CIFAR-10 as a lossy copy, and ImageNet's in Tiny-ImageNet's pixels."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from PIL import Image

from benchmarks.repairs.scenarios.dividing import divided, plan, split_of
from benchmarks.repairs.scenarios.records import Family, Recipe, Scenario, World, from_data_folder
from reclaim.data.inputs.image import Preprocess
from reclaim.data.load import load_data
from reclaim.data.records import Data, Split
from reclaim.models.directory import load_model

__all__ = ["CIFAR", "FAMILIES", "TINY", "images", "resnet20", "squeezenet"]

CIFAR = ("images/cifar10_jpeg_train.npz", "images/cifar10_jpeg_test.npz", "images/cifar10_png_train4k.npz")
TINY = (
    "images/tiny_imagenet200_train.npz",
    "images/tiny_imagenet200_val.npz",
    "images/imagenet_samples_160px.npz",
)
RESNET20, RESNET32 = "weights/resnet20_cifar10.safetensors", "weights/resnet32_cifar10.safetensors"
SQUEEZENET = "weights/squeezenet1_0_imagenet1k.safetensors"
MOBILENET = "weights/mobilenet_v2_imagenet1k.safetensors"
IMAGENET = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@cache
def images(file: str, side: int) -> tuple[tuple[str, ...], Split]:
    """A file's class names, and its images as arrays of one size."""
    data = load_data(str(from_data_folder(file)))
    rows = data.split("all")
    x = np.empty((len(rows), side, side, 3), dtype=np.uint8)
    for i in range(len(rows)):
        image = rows.read(i).convert("RGB")
        x[i] = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
    return data.classes, split_of(x, rows.labels)


def cifar(spec: str, file: str, scenario: Scenario) -> World:
    """CIFAR-10 as JPEG files; the pretraining images are PNG files, which the networks know by heart."""
    classes, train = images(CIFAR[0], 32)
    seed = scenario.seed
    splits = divided(train, seed, train=3000)
    splits |= divided(images(CIFAR[1], 32)[1], seed, held=2500, unlabelled=1000, test=3000)
    splits |= divided(images(CIFAR[2], 32)[1], seed, source=1000)
    before = replace(load_model(f"{spec}@{from_data_folder(file)}"), preprocess=IMAGENET)
    return World(before.bind(classes), _all_seen(classes, splits))


def tiny(spec: str, file: str, preprocess: Preprocess, side: int, scenario: Scenario) -> World:
    """200 of ImageNet's classes in 64 pixels; the pretraining images are one per class."""
    classes, train = images(TINY[0], side)
    seed = scenario.seed
    splits = divided(train, seed, train=3000)
    splits |= divided(images(TINY[1], side)[1], seed, held=1000, unlabelled=600, test=2000)
    splits |= divided(_of_classes(classes, *images(TINY[2], side)), seed, source=200)
    before = replace(load_model(f"{spec}@{from_data_folder(file)}"), preprocess=preprocess)
    return World(before.bind(classes), _all_seen(classes, splits))


def _of_classes(classes: tuple[str, ...], theirs: tuple[str, ...], rows: Split) -> Split:
    """The rows of `classes`, with labels among these."""
    where = torch.full((len(theirs),), -1)
    where[[theirs.index(name) for name in classes]] = torch.arange(len(classes))
    kept = rows.rows(where[rows.labels] >= 0)
    return replace(kept, labels=where[kept.labels])


def _all_seen(classes: tuple[str, ...], splits: dict[str, Split]) -> Data:
    return Data(classes, splits, torch.ones(len(classes), dtype=torch.bool))


def resnet20(scenario: Scenario) -> World:
    """ResNet-20."""
    return cifar("plain/reclaim.networks:resnet20", RESNET20, scenario)


def resnet32(scenario: Scenario) -> World:
    """ResNet-32."""
    return cifar("plain/reclaim.networks:resnet32", RESNET32, scenario)


def squeezenet(scenario: Scenario) -> World:
    """SqueezeNet, which has no batch norms and goes on after its head."""
    return tiny("torchvision/squeezenet1_0", SQUEEZENET, IMAGENET, 96, scenario)


def mobilenet(scenario: Scenario) -> World:
    """MobileNetV2, at a size for which its padding is right."""
    return tiny("torchvision/mobilenet_v2", MOBILENET, HALF, 97, scenario)


RESNETS = (
    Recipe("sgd", 0.005, 5, frozen=True),
    Recipe("sgd", 0.01, 5),
    Recipe("adamw", 3e-4, 4, frozen=True),
    Recipe("sgd", 0.001, 5, frozen=True),
    Recipe("adamw", 1e-3, 4),
)
SQUEEZENETS = (Recipe("sgd", 5e-4, 4), Recipe("adamw", 3e-5, 4), Recipe("sgd", 1.5e-4, 4), Recipe("adamw", 1e-4, 3))
MOBILENETS = (
    Recipe("sgd", 5e-4, 3, frozen=True),
    Recipe("adamw", 2e-5, 3, frozen=True),
    Recipe("sgd", 1e-3, 3, frozen=True),
)
FAMILIES = (
    Family("cifar-resnet20", "design", resnet20, plan("cifar-resnet20", RESNETS, 9), (RESNET20, *CIFAR)),
    Family("tiny-squeezenet", "design", squeezenet, plan("tiny-squeezenet", SQUEEZENETS, 6), (SQUEEZENET, *TINY)),
    Family("cifar-resnet32", "confirmation", resnet32, plan("cifar-resnet32", RESNETS, 9), (RESNET32, *CIFAR)),
    Family("tiny-mobilenet", "confirmation", mobilenet, plan("tiny-mobilenet", MOBILENETS, 6), (MOBILENET, *TINY)),
)
