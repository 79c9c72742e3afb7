"""From an image as it is stored to what a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reclaim.core.arrays import as_numpy
from reclaim.core.errors import Argument, BadInput
from reclaim.core.numbers import Count, Pixels, check_fields
from reclaim.data.inputs.arrays import finite
from reclaim.data.inputs.pixels import as_image, plain, upright
from reclaim.data.inputs.protocol import Augment, Inputs, stack

__all__ = ["Preprocess", "augmented"]

_MODES = {1: "L", 3: "RGB"}
_WITHOUT_ALPHA = {"LA": "L", "RGBA": "RGB"}


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop, scale to [0, 1], normalise: what torchvision's classification presets do.

    Arrays of uint8, uint16 and bool are images, scaled by their type (`as_image`). Arrays of floating point are inputs
    already, images among them [channels, H, W] or [H, W]; they are only normalised. So are numbers of one row.

    Attributes:
        channels: 1 for grey, 3 for colour, 4 for colours of a file with its transparency, which are not converted; None
            leaves the channels as they are, but for the transparency of files, which is no colour.
        resize: the shorter side in pixels after resizing; None leaves the size.
        crop: the side of the square cut from the centre, in pixels; None cuts nothing.
        mean, std: per channel, subtracted and divided after scaling; empty for neither.
        interpolation: how to resize.
        upright: turn images as their orientation tags say, before anything else; else they are read as stored.
    """

    channels: Count | None = None
    resize: Pixels | None = None
    crop: Pixels | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    upright: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
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
        if self.channels and self.mean and len(self.mean) != self.channels:
            raise BadInput(
                f"mean and standard deviation are of {len(self.mean)} channels, and the network takes images of "
                f"{self.channels}.",
                Argument("mean", f"give {self.channels} of each"),
                Argument("std"),
            )

    def __call__(
        self,
        example: Image.Image | np.ndarray | Tensor,
        augment: Augment = "none",
        random: np.random.Generator | None = None,
    ) -> Tensor:
        """One example, an image, an array or a tensor, as a float32 tensor; of an image [channels, H, W].

        Args:
            augment: "flip" mirrors every second image; "crop-flip" also cuts 70 to 100 % of it at a random place.
            random: where the randomness of `augment` comes from.

        Raises: BadInput if values or shape of the array are not those of an image, or the channels are too many or few.
        """
        if isinstance(example, Tensor):
            example = as_numpy(example)
        if isinstance(example, np.ndarray) and (example.dtype.kind == "f" or example.ndim < 2):
            x = finite(torch.from_numpy(np.ascontiguousarray(_numbers(example), dtype=np.float32)))
            x = x[None] if x.ndim == 2 else x
        else:
            image = example if isinstance(example, Image.Image) else as_image(np.asarray(example))
            opaque = image is example and self.channels is None
            x = self._image(image, opaque, augment, random or np.random.default_rng(0))
        self._check_channels(x)
        if self.mean:
            shape = (-1,) + (1,) * (x.ndim - 1)
            x = (x - torch.tensor(self.mean).view(shape)) / torch.tensor(self.std).view(shape)
        return x

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        """Stacked; BadInput if they are not of one size."""
        return stack(inputs)

    def _check_channels(self, x: Tensor) -> None:
        wanted = len(self.mean) or (self.channels if x.ndim == 3 else 0) or 0
        if not wanted or (x.ndim and x.shape[0] == wanted) or (x.ndim < 3 and wanted == 1):
            return
        last = " (they stand last here; transpose the array)" if x.ndim == 3 and x.shape[2] == wanted else ""
        why = "mean and standard deviation are given for" if self.mean else "the network takes"
        raise BadInput(f"{why} {wanted} channels, and inputs of shape {list(x.shape)} have others{last}.")

    def _image(self, image: Image.Image, opaque: bool, augment: Augment, random: np.random.Generator) -> Tensor:
        """[channels, H, W] in [0, 1]; of an `opaque` one the colours alone, for transparency is none."""
        image = plain(upright(image) if self.upright else image)
        if opaque and image.mode in _WITHOUT_ALPHA:
            image = image.convert(_WITHOUT_ALPHA[image.mode])
        if self.channels in _MODES and image.mode not in ("F", _MODES[self.channels]):
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
        if image.mode == "F":  # from 0 to 1 already, but for what bicubic resizing overshoots
            return pixels.clamp(0, 1).expand(3 if self.channels == 3 else 1, -1, -1).contiguous()
        pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        return pixels.to(torch.float32, memory_format=torch.contiguous_format) / 255


def augmented(image: Image.Image, augment: Augment, random: np.random.Generator) -> Image.Image:
    """The image as training varies it, before it is brought to a size."""
    if augment == "crop-flip":
        image = _random_crop(image, random)
    if augment != "none" and random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def _random_crop(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """A rectangle of 70 to 100 % of the area, of the image's own shape."""
    share = random.uniform(0.7, 1.0) ** 0.5
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = random.integers(image.width - width + 1), random.integers(image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def _numbers(example: np.ndarray) -> np.ndarray:
    """The array, if it holds real numbers.

    Raises: BadInput if not.
    """
    if example.dtype.kind not in "biuf":
        raise BadInput(f"an array of {example.dtype} holds no real numbers; give whole numbers or floating point.")
    return example
