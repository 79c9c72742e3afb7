"""One file with all examples: an ``.npz`` of encoded images or arrays, or a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.errors import BadInput, few
from reclaim.core.extras import require
from reclaim.core.npz import load_npz
from reclaim.data.columns import check_column, groups_of, labels_and_classes, shared_groups, splits_of, texts
from reclaim.data.inputs.decoding import decode
from reclaim.data.noticed import Noticed
from reclaim.data.records import Data, Split
from reclaim.data.report import Report, counts_of

__all__ = ["table"]

ENCODED = ("jpeg", "png", "encoded")
ARRAYS = ("image", "images", "x", "data")
LABELS = ("label", "labels", "y")

Name = Callable[[int], str]


def table(source: str, group_column: str | None = None) -> Data:
    """Examples in one file, with labels and class names.

    An ``.npz`` holds either encoded images end to end (`jpeg`, `png` or `encoded`, uint8, with `offset` [N+1]) or an
    array (`image` or `x`, [N, …]: images of uint8, uint16 or bool, or floating point); `label` [N], numbers or names of
    classes; and optionally `classes` [C], `names` [N], `split` [N] and `groups` [N], numbers or names of what belongs
    together. A Parquet file holds the columns `image` and `label` as `datasets` writes them, and may hold `split` and
    `groups`. Without a `split` all rows form the split "all".

    Args:
        group_column: the column that holds the groups, if it is another.

    Raises: BadInput if the file is broken or lacks a part.
    Source: your own files.
    """
    path = Path(source)
    if not path.is_file():
        raise BadInput(f"there is no file {source}.")
    return (_parquet if path.suffix == ".parquet" else _npz)(path, group_column)


def _npz(path: Path, group_column: str | None) -> Data:
    arrays = load_npz(path)
    label = check_column(_first(arrays, LABELS, path), "label", path)
    given = next((name for name in ENCODED if name in arrays), None)
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
        values = _first(arrays, ARRAYS, path)
        if not values.ndim or len(values) != len(label):
            raise BadInput(f"{path} has {len(values) if values.ndim else 'no'} examples and {len(label)} labels.")
        read = values.__getitem__
    classes = texts(arrays["classes"], "classes", path) if "classes" in arrays else []
    return _data(path, label, classes, read, name, arrays, group_column, noticed)


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


def _parquet(path: Path, group_column: str | None) -> Data:
    datasets = require("datasets", extra="data")
    datasets.disable_progress_bars()  # they would stand before whatever is wrong with the file
    try:
        rows = datasets.Dataset.from_parquet(str(path), keep_in_memory=True)
    except Exception as error:  # the library wraps every fault of a file in a different class
        raise BadInput(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from error
    for column in ("image", "label"):
        if column not in rows.column_names:
            raise BadInput(f"{path} has no column {column!r}; it has: {few(rows.column_names)}.")
    try:
        images = rows.cast_column("image", datasets.Image(decode=False))
    except Exception as error:  # as above
        raise BadInput(f"{path}: the column 'image' holds no images: {str(error).splitlines()[0]}") from error
    noticed = Noticed(len(rows))

    def name(i: int) -> str:
        return f"{path.name}, row {i}"

    def read(i: int) -> Any:
        image = images[i]["image"] or {}
        if not (image.get("bytes") or image.get("path")):
            raise BadInput(f"{name(i)} has no image.")
        return decode(image["bytes"] or image["path"], name(i), partial(noticed.mark, i, name=name(i)))

    columns = {column: _Column(rows, column) for column in rows.column_names if column != "image"}
    label = np.asarray(_Column(rows, "label"))
    classes = getattr(rows.features["label"], "names", None) or []
    return _data(path, label, classes, read, name, columns, group_column, noticed)


class _Column:
    """A column of a Parquet file, which becomes an array once it is asked for."""

    def __init__(self, rows: Any, name: str) -> None:
        self.rows, self.name = rows, name

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = list(self.rows[self.name])
        return np.array(values, dtype=object if any(isinstance(one, str) or one is None for one in values) else dtype)


def _data(
    path: Path,
    label: np.ndarray,
    names: Sequence[str],
    read: Callable[[int], Any],
    name: Name,
    columns: Mapping[str, Any],
    group_column: str | None,
    noticed: Noticed | None,
) -> Data:
    """The data of a table, whatever kind of file it is."""
    labels, classes = labels_and_classes(label, names, path)
    groups, group_names = groups_of(columns, group_column, len(labels), path)
    splits = splits_of(Split(labels, read, name, groups, group_names), columns.get("split"), path)
    rows = counts_of({split: of.labels for split, of in splits.items()}, classes)
    report = Report(rows, notes=shared_groups(splits))
    return Data(classes, splits, _seen(splits, classes), str(path), report, noticed)


def _first(arrays: dict[str, Any], wanted: Sequence[str], path: Path) -> Any:
    for name in wanted:
        if name in arrays:
            return arrays[name]
    raise BadInput(f"{path} has none of {', '.join(wanted)}; it has: {few(arrays, 10) or 'nothing'}.")


def _seen(splits: dict[str, Split], classes: tuple[str, ...]) -> Tensor:
    """The classes of the training split; all of them without one."""
    if "train" not in splits:
        return torch.ones(len(classes), dtype=torch.bool)
    return torch.bincount(splits["train"].labels, minlength=len(classes)) > 0
