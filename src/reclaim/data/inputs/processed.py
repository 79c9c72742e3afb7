"""Images through the function that another library prepares them with, where `Preprocess` does not do the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.data.inputs.arrays import finite
from reclaim.data.inputs.image import augmented
from reclaim.data.inputs.pixels import as_image, plain
from reclaim.data.inputs.protocol import Augment, Inputs, stack

__all__ = ["Processed"]


@dataclass(frozen=True)
class Processed:
    """Images through another library's function.

    Attributes:
        says: what the function does, whole: two of these are the same where this is. It is shown to users.
        process: from an image of one mode to what the network takes, without a dimension for the batch.
        mode: Pillow's name of the mode, "RGB" or "L".
        settings: what it does, as its library writes it into a record.
        files: those of a model directory that make it again, by their names.
    """

    says: str
    process: Callable[[Image.Image], Tensor | Mapping[str, Tensor]] = field(compare=False, repr=False)
    mode: str = "RGB"
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, example: Any, augment: Augment = "none", random: np.random.Generator | None = None) -> Inputs:
        """One example, an image or an array of whole numbers that is one.

        Raises: BadInput for an array of floating point, of which the function does not know the scale.
        """
        if isinstance(example, np.ndarray) and example.dtype.kind == "f":
            raise BadInput("an array of floating point is no image that can be prepared; give pixels as uint8.")
        if not isinstance(example, Image.Image | np.ndarray):
            raise BadInput(f"an image was expected; the example is {type(example).__name__}.")
        image = plain(example if isinstance(example, Image.Image) else as_image(example))
        image = augmented(image.convert(self.mode), augment, random or np.random.default_rng(0))
        made = self.process(image)
        return finite(made) if isinstance(made, Tensor) else {name: finite(tensor) for name, tensor in made.items()}

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        """Stacked, name by name."""
        return stack(inputs)
