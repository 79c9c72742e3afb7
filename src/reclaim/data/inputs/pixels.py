"""What the values of an image mean: whole numbers and floats of any width, palettes and inks come to one scale."""

from __future__ import annotations

import numpy as np
from PIL import Image

from reclaim.core.errors import BadInput

__all__ = ["as_image", "as_stored", "plain", "tagged", "turned_by", "upright"]

PLAIN = ("L", "LA", "RGB", "RGBA", "F")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_COLOURS = {"CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
_SIXTEEN = ("PNG", "PPM")  # formats whose grey of more than 8 bits Pillow may give as 32, scaled to 16


def plain(image: Image.Image, bits: int = 16, *, white_is_zero: bool = False) -> Image.Image:
    """The image in 8 bits per channel (L, LA, RGB, RGBA), or, of wider grey, in floats (F) from 0 to 1.

    Whole numbers of 16 bits or fewer are divided by the largest that their type holds. Floats must lie in [0, 1], for
    no file says what white is. Palettes become the colours that they stand for, inks (CMYK) become red, green and blue.

    Args:
        bits: of each value, where the mode says 16.
        white_is_zero: whether the file says so, which Pillow heeds up to 8 bits only.

    Raises: BadInput for anything else, such as whole numbers of 32 bits, with no name of the image.
    """
    if image.mode == "F":
        return _floats(image, white_is_zero)
    if image.mode in PLAIN:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN):
        made = Image.fromarray((np.asarray(image).astype(np.float64) / (2**bits - 1)).astype(np.float32))
        made.info = dict(image.info)
        return _floats(made, white_is_zero)
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in _COLOURS:
        return image.convert(_COLOURS[image.mode])
    kinds = {"I": "whole numbers of 32 bits", "LAB": "colours in CIELAB"}
    raise BadInput(
        f"it holds {kinds.get(image.mode, f'pixels of the kind {image.mode}')}, and nothing says how they are scaled.\n"
        "  Store it with 8 or 16 bits per channel, or as floats from 0 to 1."
    )


def _floats(image: Image.Image, white_is_zero: bool) -> Image.Image:
    values = np.asarray(image)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not 0 <= low <= high <= 1:  # NaN is neither
        raise BadInput(
            f"it holds floats from {low:g} to {high:g}, and an image of floats is read from 0 (black) to 1 (white).\n"
            "  Scale it to that, or store it with 8 or 16 bits per channel."
        )
    return Image.fromarray(1 - values) if white_is_zero else image


def turned_by(image: Image.Image) -> int:
    """The number of the orientation tag, from 2 to 8; 1 if the image is upright, or its tags are broken."""
    try:
        number = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # tags of any program, which Pillow parses as far as it can
        return 1
    return number if number in _TURNS else 1


def tagged(image: Image.Image, number: int) -> Image.Image:
    """The same image with that orientation tag."""
    image.getexif()[_ORIENTATION] = number
    return image


def as_stored(image: Image.Image, number: int) -> Image.Image:
    """An image that was turned by its tag, as it was before."""
    return image.transpose(_TURNS[{6: 8, 8: 6}.get(number, number)])


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its orientation tag says; without one, itself."""
    number = turned_by(image)
    return image if number == 1 else image.transpose(_TURNS[number])


def as_image(array: np.ndarray) -> Image.Image:
    """An array of pixels as an image: uint8, uint16 or bool; [H, W], [H, W, channels] or [channels, H, W].

    Channels are the dimension of 1 or 3, or of 2 or 4 where none is.

    Raises: BadInput for other types, and for shapes of which it cannot be told where the channels are.
    """
    if array.dtype.kind not in "bu" or array.dtype.itemsize > 2:
        raise BadInput(
            f"an array of {array.dtype} {list(array.shape)} is no image: its type does not say what white is.\n"
            "  Give uint8 or uint16 (0 to their largest number), bool, or floating point, which are inputs already."
        )
    if array.ndim not in (2, 3):
        raise BadInput(
            f"an array of {array.dtype} {list(array.shape)} is no image: [height, width], [height, width, channels] or "
            "[channels, height, width] was expected.\n  Give floating point if these are inputs already."
        )
    pixels = array if array.ndim == 2 else _channels_last(array)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        pixels = np.round(pixels / 257).astype(np.uint8)  # as Pillow does with colours of 16 bits
    return Image.fromarray(np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("=")))


def _channels_last(array: np.ndarray) -> np.ndarray:
    """[H, W, channels], or [H, W] of one channel."""
    for counts in ((1, 3), (2, 4)):
        first, last = array.shape[0] in counts, array.shape[2] in counts
        if first and last:
            break
        if first or last:
            pixels = array.transpose(1, 2, 0) if first else array
            return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    raise BadInput(
        f"of an array {list(array.shape)} it cannot be told where its channels are: [height, width, channels] and "
        f"[channels, height, width] {'both fit' if first and last else 'have 1 to 4 channels, and neither fits'}.\n"
        "  Give floating point [channels, height, width] that is an input already, or another layout."
    )
