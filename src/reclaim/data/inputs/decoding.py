"""From files to images: which files are images, and decoding them."""

from __future__ import annotations

import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from reclaim.core.errors import Argument, BadInput
from reclaim.data.inputs.pixels import as_stored, plain, tagged, turned_by

__all__ = ["SUFFIXES", "Notice", "decode", "is_image", "suffix_of"]

SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
    }
    | {".jp2", ".avif"}
)  # what ends so is an image, or a broken one; of other files the content says it

NEVER = ("EPS", "WMF", "PDF", "MPEG", "HDF5", "GRIB", "BUFR")  # drawn by other programs, or by nobody

Notice = Callable[[str], None]  # is told "turned", "several_frames" or "transparent"


def suffix_of(path: str) -> str:
    """The suffix of a file's name, in small letters; empty if it has none."""
    name = path.rpartition("/")[2]
    return name[name.rfind(".") :].lower() if name.rfind(".") > 0 else ""


def is_image(path: str) -> bool:
    """Whether the beginning of a file is that of an image that can be decoded, whatever its name.

    Raises: PermissionError if it may not be read.
    """
    Image.init()
    own = Image.registered_extensions().get(suffix_of(path))
    formats = [name for name, (_, accepts) in Image.OPEN.items() if (accepts or name == own) and name not in NEVER]
    try:
        with Image.open(path, formats=formats):
            return True
    except PermissionError:
        raise
    except Image.DecompressionBombError:
        return True
    except Exception:  # whatever a decoder makes of a file that is not its own
        return False


def decode(image: Path | str | bytes, name: str, notice: Notice | None = None) -> Image.Image:
    """The image, decoded to its last pixel, of several the first one; values as `plain` says, not turned by its tags.

    Args:
        name: what to call it in a message.
        notice: is told what is worth a word.

    Raises: BadInput, with the name, if it is broken, no image or no file.
    """
    if not isinstance(image, bytes) and not _is_file(image):
        raise BadInput(f"{name} is no file that can be read as an image.", *_LEAVE_OUT)
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            if opened.format in NEVER:
                raise BadInput(f"{name} is {opened.format}, which is no image of pixels.", *_LEAVE_OUT)
            turned, frames = turned_by(opened), bool(getattr(opened, "is_animated", False))
            opened.load()
            made = plain(opened, _tag(opened, 258, 16), white_is_zero=_tag(opened, 262, 1) == 0)
            made = made.copy() if made is opened else made
            if turned > 1 and opened.format == "TIFF":  # the one format that Pillow turns by itself
                made = as_stored(made, turned)
    except BadInput as error:
        if error.do:
            raise
        raise BadInput(f"{name} cannot be read: {error.what}", *_LEAVE_OUT) from error
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise BadInput(f"{name} cannot be read as an image ({type(error).__name__}).", *_LEAVE_OUT) from error
    if notice is not None:
        for kind, is_so in (("turned", turned > 1), ("several_frames", frames), ("transparent", _transparent(made))):
            if is_so:
                notice(kind)
    return tagged(made, turned) if turned > 1 else made


_LEAVE_OUT = (Argument("skip_bad", "remove or replace it, or leave such examples out and have them listed", True),)


def _is_file(path: Path | str) -> bool:
    """Whether a regular file is there: pipes, sockets and devices are never opened."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def _tag(image: Any, number: int, otherwise: int) -> int:
    """A tag of a TIFF file, the first of several values: 258 has the bits of a value, 262 is 0 where white is."""
    value = image.tag_v2.get(number, otherwise) if image.format == "TIFF" else otherwise
    return int(value[0] if isinstance(value, tuple) else value)


def _transparent(image: Image.Image) -> bool:
    low: Any = image.getchannel("A").getextrema()[0] if image.mode in ("LA", "RGBA") else 255
    return bool(low < 255)
