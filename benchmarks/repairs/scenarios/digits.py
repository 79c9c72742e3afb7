"""Handwritten digits: scikit-learn's and MNIST's, into each other and into worse pictures of themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, rotate, zoom
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.repairs.scenarios.dividing import divided, plan, split_of
from benchmarks.repairs.scenarios.records import Family, Recipe, Scenario, World, from_data_folder
from reclaim.core.npz import load_npz
from reclaim.data.inputs.image import Preprocess
from reclaim.data.records import Data, Split
from reclaim.data.sources.digits import shifted
from reclaim.models.classifier import Classifier
from reclaim.models.head import find_head
from reclaim.models.networks import digits_cnn
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune

__all__ = ["FAMILIES"]

CLASSES = tuple(str(digit) for digit in range(10))
MNIST = "images/mnist_test10k.npz"


def small_cnn() -> nn.Module:
    """A network with batch norms for 16-pixel digits."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def faded(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The shift of Reclaim's demo."""
    return shifted(x, random)


def tilted(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turned by 20 to 40 degrees."""
    return np.stack([rotate(image, random.uniform(20, 40), reshape=False, order=1) for image in x])


def smeared(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blurred from left to right, faint, and a little noisy."""
    return 0.5 * gaussian_filter(x, (0, 0.3, 1.2)) + random.normal(0, 0.08, x.shape)


def noisy(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Normal noise on every pixel."""
    return x + random.normal(0, 0.4, x.shape)


def blurred(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Out of focus."""
    return gaussian_filter(x, (0, 1.6, 1.6))


def foggy(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Little contrast on a grey ground that grows darker downwards."""
    return 0.4 * x + np.linspace(0.1, 0.5, x.shape[1])[None, :, None] + random.normal(0, 0.05, x.shape)


def struck(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every fourth line struck through."""
    struck = x.copy()
    struck[:, 1::4] = 0.6
    return struck


def domain(
    rows: Split, shift: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None, seed: int = 0
) -> Split:
    """The same images in another domain."""
    x = np.stack([rows.read(i) for i in range(len(rows))])
    return split_of((shift(x, np.random.default_rng(seed)) if shift else x).astype(np.float32), rows.labels)


@cache
def small_digits() -> Split:
    """scikit-learn's 1,797 digits, 8 pixels wide, in [0, 1]."""
    pixels, labels = load_digits(return_X_y=True)
    return split_of((pixels.reshape(-1, 8, 8) / 16).astype(np.float32), torch.from_numpy(labels).long())


@cache
def digits_16() -> Split:
    """The same, 16 pixels wide."""
    return domain(small_digits(), lambda x, _: zoom(x, (1, 2, 2), order=1))


@cache
def mnist_16() -> Split:
    """MNIST's 10,000 test images, cut to 20 pixels and brought to 16."""
    arrays = load_npz(from_data_folder(MNIST))
    x = arrays["image"][:, 4:24, 4:24].astype(np.float32) / 255
    return split_of(zoom(x, (1, 0.8, 0.8), order=1), torch.from_numpy(arrays["label"].astype(np.int64)))


def pretrained(factory: Callable[[], nn.Module], rows: Split, budget: Budget) -> Classifier:
    """A network trained on all classes."""
    with torch.random.fork_rng():
        torch.manual_seed(budget.seed)
        module = factory()
    start = Classifier(module, find_head(module), CLASSES, preprocess=Preprocess(channels=1))
    return fine_tune(start, Data(CLASSES, {"train": rows}, torch.ones(10, dtype=torch.bool)), budget)


@cache
def _before(what: str, seed: int) -> tuple[Classifier, dict[str, Split]]:
    """A network, and the rows left of its domain: "source", and "rest" for targets made of the same images."""
    budget = Budget(4, 0.05, 32, seed=seed, device="cpu")
    if what == "small digits":
        parts = divided(small_digits(), seed, pretrain=500, source=150, rest=1147)
        return pretrained(digits_cnn, parts["pretrain"], Budget(20, 0.05, 32, seed=seed, device="cpu")), parts
    if what == "digits":
        parts = divided(digits_16(), seed, pretrain=1400, source=397)
        return pretrained(small_cnn, parts["pretrain"], Budget(15, 0.05, 32, seed=seed, device="cpu")), parts
    parts = divided(mnist_16(), seed, pretrain=5000, source=600, rest=4400)
    return pretrained(small_cnn, parts["pretrain"], budget), parts


def _world(what: str, seed: int, target: Split, **sizes: int) -> World:
    before, parts = _before(what, seed)
    splits = divided(target, seed, **sizes) | {"source": parts["source"]}
    return World(before, Data(CLASSES, splits, torch.ones(10, dtype=torch.bool)))


def digits_shift(scenario: Scenario) -> World:
    """scikit-learn's digits, worse pictures of them."""
    shift = {"faded": faded, "tilted": tilted, "smeared": smeared}[scenario.shift]
    target = domain(_before("small digits", scenario.seed)[1]["rest"], shift, scenario.seed)
    return _world("small digits", scenario.seed, target, train=250, held=300, unlabelled=200, test=397)


def mnist_to_digits(scenario: Scenario) -> World:
    """A network for MNIST on scikit-learn's digits."""
    return _world("mnist", scenario.seed, digits_16(), train=400, held=500, unlabelled=300, test=597)


def digits_to_mnist(scenario: Scenario) -> World:
    """A network for scikit-learn's digits on MNIST."""
    return _world("digits", scenario.seed, mnist_16(), train=500, held=3000, unlabelled=1500, test=4000)


def corruptions(scenario: Scenario) -> World:
    """MNIST, worse pictures of it."""
    shift = {"noisy": noisy, "blurred": blurred, "foggy": foggy, "struck": struck}[scenario.shift]
    target = domain(_before("mnist", scenario.seed)[1]["rest"], shift, scenario.seed)
    return _world("mnist", scenario.seed, target, train=500, held=1400, unlabelled=700, test=1800)


PLAIN = (Recipe("sgd", 0.01, 30), Recipe("adamw", 1e-3, 20), Recipe("sgd", 0.05, 20), Recipe("adamw", 2e-4, 20))
WITH_BATCH_NORM = (
    Recipe("sgd", 0.003, 20),
    Recipe("adamw", 2e-3, 15),
    Recipe("sgd", 0.015, 20, frozen=True),
    Recipe("sgd", 0.03, 20),
    Recipe("adamw", 3e-4, 15, frozen=True),
    Recipe("sgd", 0.003, 40, frozen=True),
)
FAMILIES = (
    Family("digits-shift", "design", digits_shift, plan("digits-shift", PLAIN, 12, ("faded", "tilted", "smeared"))),
    Family("mnist-to-digits", "design", mnist_to_digits, plan("mnist-to-digits", WITH_BATCH_NORM, 12), (MNIST,)),
    Family("digits-to-mnist", "confirmation", digits_to_mnist, plan("digits-to-mnist", WITH_BATCH_NORM, 12), (MNIST,)),
    Family(
        "corruptions",
        "confirmation",
        corruptions,
        plan("corruptions", WITH_BATCH_NORM, 12, ("noisy", "blurred", "foggy", "struck")),
        (MNIST,),
    ),
)
