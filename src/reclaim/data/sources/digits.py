"""scikit-learn's 8x8 digits, as they are and in a domain of our own."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from reclaim.core.numbers import Seed, in_range
from reclaim.data.records import Data, Split

__all__ = ["digits", "shifted"]

SIZES = {"source": 600, "train": 300, "val": 450, "test": 447}


@in_range
def digits(source: str = "digits", *, seed: Seed = 0) -> Data:
    """Scanned digits: "digits" is the pretraining domain with all ten classes, "digits-shifted" the target domain.

    The 1,797 images are divided at random into four parts that share no image: the pretraining images; and, in the
    target domain, training images of five classes drawn at random, and validation and test images of all ten.
    Inputs are [1, 8, 8] in [0, 1] before the shift.

    Args:
        seed: of the division, the five classes and the noise.

    Source: scikit-learn's `load_digits` (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", 1998); the
        shift is Reclaim's.
    """
    pixels, labels = load_digits(return_X_y=True)
    images, y = (pixels.reshape(-1, 8, 8) / 16).astype(np.float32), torch.from_numpy(labels).long()
    random = np.random.default_rng(seed)
    order = random.permutation(len(images))
    part = dict(zip(SIZES, np.split(order, np.cumsum(list(SIZES.values()))[:-1]), strict=True))
    classes = tuple(str(digit) for digit in range(10))
    seen = torch.zeros(10, dtype=torch.bool)
    if source == "digits":
        seen[:] = True
        splits = {"train": _split(images, y, part["source"]), "test": _split(images, y, part["test"])}
    else:
        seen[random.permutation(10)[:5]] = True
        moved = shifted(images, random)
        splits = {name: _split(moved, y, part[name]) for name in ("train", "val", "test")}
        splits["train"] = splits["train"].rows(seen[splits["train"].labels])
    return Data(classes, splits, seen, source if seed == 0 else f"{source} (seed {seed})")


def shifted(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Faded ink on paper lit from the right, seen by a noisy sensor: [N, 8, 8] in, the same out.

    Ink keeps 45 % of its strength, brightness grows from 0 at the left edge to 0.9 at the right, and every pixel gets
    normal noise of standard deviation 0.1.
    """
    light = np.linspace(0, 0.9, 8, dtype=np.float32)
    noise = random.normal(0, 0.1, images.shape).astype(np.float32)
    return np.clip(0.45 * images + light + noise, 0, 1.5)


def _split(images: np.ndarray, labels: torch.Tensor, rows: np.ndarray) -> Split:
    return Split(labels[torch.from_numpy(rows)], lambda i: images[rows[i]], lambda i: f"digit {rows[i]}")
