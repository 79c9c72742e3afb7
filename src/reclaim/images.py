"""Decoding images, with an error that names the one that cannot be."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from reclaim.core.errors import BadInput

__all__ = ["SUFFIXES", "decode"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


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
            f"{name} cannot be read as an image ({type(error).__name__}).\n"
            "  Remove or replace it, or leave such examples out with --skip-bad, which lists them."
        ) from error
