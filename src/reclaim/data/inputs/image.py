"""Images: decoding them, and from an image as it is stored to what a network takes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from reclaim.core.errors import Argument, BadInput
from reclaim.data.inputs.protocol import Augment, Inputs, stack

__all__ = ["SUFFIXES", "Preprocess", "decode"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop, scale to [0, 1], normalise: what torchvision's classification presets do.

    Arrays of floating point are inputs already; they are only normalised.

    Attributes:
        channels: 1 for grey, 3 for colour; None leaves the channels as they are.
        resize: the shorter side in pixels after resizing; None leaves the size.
        crop: the side of the square cut from the centre, in pixels; None cuts nothing.
        mean, std: per channel, subtracted and divided after scaling; empty for neither.
        interpolation: how to resize.
    """

    channels: int | None = None
    resize: int | None = None
    crop: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise BadInput(
                f"mean and standard deviation are of {len(self.mean)} and {len(self.std)} channels; they go together.",
                Argument("mean", "give as many of both"),
                Argument("std"),
            )
        if not all(map(isfinite, (*self.mean, *self.std))) or min(self.std, default=1.0) <= 0:
            raise BadInput(
                f"means are finite, and standard deviations above 0; given: {self.mean} and {self.std}.",
                Argument("std", "give"),
            )

    def __call__(
        self, example: Image.Image | np.ndarray, augment: Augment = "none", random: np.random.Generator | None = None
    ) -> Tensor:
        """One example, an image or an array [H, W], [H, W, channels] or of any shape, as a float32 tensor.

        Args:
            augment: "flip" mirrors every second image; "crop-flip" also cuts 70 to 100 % of it at a random place.
            random: where the randomness of `augment` comes from.
        """
        if isinstance(example, np.ndarray) and example.dtype != np.uint8:
            x = torch.from_numpy(np.ascontiguousarray(example, dtype=np.float32))
            x = x[None] if x.ndim == 2 else x
        else:
            image = example if isinstance(example, Image.Image) else Image.fromarray(example)
            x = self._image(image, augment, random or np.random.default_rng(0))
        if self.mean:
            shape = (-1,) + (1,) * (x.ndim - 1)
            x = (x - torch.tensor(self.mean).view(shape)) / torch.tensor(self.std).view(shape)
        return x

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        """Stacked; BadInput if they are not of one size."""
        return stack(inputs)

    def _image(self, image: Image.Image, augment: Augment, random: np.random.Generator) -> Tensor:
        """[channels, H, W] in [0, 1]."""
        if self.channels:
            image = image.convert(_MODES[self.channels])
        if augment == "crop-flip":
            image = _random_crop(image, random)
        if self.resize and min(image.size) != self.resize:
            how = Image.Resampling.BICUBIC if self.interpolation == "bicubic" else Image.Resampling.BILINEAR
            short, (width, height) = min(image.size), image.size
            image = image.resize((width * self.resize // short, height * self.resize // short), how)
        if self.crop and image.size != (self.crop, self.crop):
            left, top = (round((side - self.crop) / 2) for side in image.size)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        if augment != "none" and random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image))
        pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        return pixels.to(torch.float32, memory_format=torch.contiguous_format) / 255


def _random_crop(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """A rectangle of 70 to 100 % of the area, of the image's own shape."""
    share = random.uniform(0.7, 1.0) ** 0.5
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = random.integers(image.width - width + 1), random.integers(image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def decode(image: Path | bytes, name: str) -> Image.Image:
    """The image, decoded to its last pixel.

    Raises: BadInput, with the name, if it is broken or no image.
    """
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            opened.load()
            return opened.copy()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"{name} cannot be read as an image ({type(error).__name__}).",
            Argument("skip_bad", "remove or replace it, or leave such examples out and have them listed", True),
        ) from error
