"""Examples in one ``.npz``: encoded images end to end, or an array."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reclaim.core.errors import Argument, BadInput, few
from reclaim.core.npz import load_npz
from reclaim.data.columns import check_column, groups_of, labels_and_classes, shared_groups, splits_of, texts
from reclaim.data.guesses import Columns
from reclaim.data.inputs.decoding import decode
from reclaim.data.noticed import Noticed
from reclaim.data.records import Data, Split
from reclaim.data.report import Report, counts_of
from reclaim.data.rows import seen_in

__all__ = ["data_of_npz"]

ENCODED = ("jpeg", "png", "encoded")
ARRAYS = ("image", "images", "x", "data")
LABELS = ("label", "labels", "y")


def data_of_npz(path: Path, columns: Columns = Columns()) -> Data:
    """Examples in an ``.npz``, with labels and class names; its columns are its arrays.

    It holds either encoded images end to end (`jpeg`, `png` or `encoded`, uint8, with `offset` [N+1]) or an array
    (`image` or `x`, [N, …]: images of uint8, uint16 or bool, or floating point); `label` [N], numbers or names of
    classes; and optionally `classes` [C], `names` [N], `split` [N] and `groups` [N], numbers or names of what belongs
    together. Without a `split` all rows form the split "all".

    Raises: BadInput if the file is broken or lacks a part.
    """
    if columns.text is not None:
        raise BadInput(f"{path} is an .npz, which holds no texts.", Argument("text_column", "leave out"))
    arrays = load_npz(path)
    label = check_column(_first(arrays, (columns.label,) if columns.label else LABELS, path), "label", path)
    encoded = ENCODED if columns.image is None else tuple({columns.image} & set(ENCODED))
    given = next((name for name in encoded if name in arrays), None)
    names = texts(arrays["names"], "names", path, len(label)) if "names" in arrays else []
    noticed = Noticed(len(label)) if given else None

    def name(i: int) -> str:
        return f"{path.name}, row {i}" + (f" ({names[i]})" if names else "")

    if given:
        stream, offset = arrays[given], _first(arrays, ("offset",), path)
        _check_stream(stream, offset, len(label), path)

        def read(i: int) -> Any:
            notice = partial(noticed.mark, i, name=name(i)) if noticed else None
            return decode(stream[offset[i] : offset[i + 1]].tobytes(), name(i), notice)
    else:
        values = _first(arrays, (columns.image,) if columns.image else ARRAYS, path)
        if not values.ndim or len(values) != len(label):
            raise BadInput(f"{path} has {len(values) if values.ndim else 'no'} examples and {len(label)} labels.")
        read = values.__getitem__
    classes = texts(arrays["classes"], "classes", path) if "classes" in arrays else []
    labels, found = labels_and_classes(label, classes, path)
    groups, group_names = groups_of(arrays, columns.group, len(labels), path)
    splits = splits_of(Split(labels, read, name, groups, group_names), arrays.get("split"), path)
    rows = counts_of({split: of.labels for split, of in splits.items()}, found)
    return Data(
        found, splits, seen_in(splits, found), str(path), Report(rows, notes=shared_groups(splits), files={}), noticed
    )


def _check_stream(stream: Any, offset: Any, num_rows: int, path: Path) -> None:
    """Raise unless encoded images [bytes] are cut at `offset` into as many parts as there are rows."""
    numbers = offset.dtype.kind in "iu" and offset.ndim == 1
    if not numbers or len(offset) != num_rows + 1 or offset[-1] > stream.size:
        up_to = (
            f"{len(offset)} offsets up to {offset[-1]}" if numbers and len(offset) else "offsets that are no numbers"
        )
        raise BadInput(
            f"{path} is not whole: {num_rows} labels, {up_to}, {stream.size} bytes of images; with N rows, `offset` "
            "holds N + 1 whole numbers."
        )
    if stream.dtype != np.uint8 or stream.ndim != 1 or int(offset[0]) < 0 or (offset[1:] < offset[:-1]).any():
        raise BadInput(
            f"{path}: encoded images are bytes [uint8] end to end, with ascending offsets; they are {stream.dtype} "
            f"{list(stream.shape)}, with offsets from {offset.min()} to {offset.max()}."
        )


def _first(arrays: dict[str, Any], wanted: Sequence[str], path: Path) -> Any:
    for name in wanted:
        if name in arrays:
            return arrays[name]
    raise BadInput(f"{path} has none of {', '.join(wanted)}; it has: {few(arrays, 10) or 'nothing'}.")
