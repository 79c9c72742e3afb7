"""One file with all examples: an ``.npz`` of encoded images or arrays, or a Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import as_tensor
from reclaim.core.checks import check_classes, check_labels
from reclaim.core.errors import BadInput, few
from reclaim.core.extras import require
from reclaim.core.groups import members_of
from reclaim.core.npz import load_npz
from reclaim.data.inputs.image import decode
from reclaim.data.records import Data, Split

__all__ = ["table"]

ENCODED = ("jpeg", "png", "encoded")
ARRAYS = ("image", "images", "x", "data")
LABELS = ("label", "labels", "y")


def table(source: str) -> Data:
    """Examples in one file, with labels and class names.

    An ``.npz`` holds either encoded images end to end (`jpeg`, `png` or `encoded`, uint8, with `offset` [N+1]) or an
    array (`image` or `x`: [N, H, W], [N, H, W, channels] uint8, or [N, …] floating point); `label` [N]; and optionally
    `classes` [C], `names` [N], `split` [N] and `groups` [N], numbers or names of what belongs together. A Parquet file
    holds the columns `image` and `label` as `datasets` writes them. Without a `split` all rows form the split "all".

    Raises: BadInput if the file is broken or lacks a part.
    Source: your own files.
    """
    path = Path(source)
    if not path.is_file():
        raise BadInput(f"there is no file {source}.")
    return _parquet(path) if path.suffix == ".parquet" else _npz(path)


def _npz(path: Path) -> Data:
    arrays = load_npz(path)
    labels = as_tensor(_first(arrays, LABELS, path))
    num_rows = len(labels)
    given = next((name for name in ENCODED if name in arrays), None)
    names = _strings(arrays.get("names"), num_rows)

    def name(i: int) -> str:
        return f"{path.name}, row {i}" + (f" ({names[i]})" if names else "")

    if given:
        stream, offset = arrays[given], _first(arrays, ("offset",), path)
        if len(offset) != num_rows + 1 or offset[-1] > len(stream):
            raise BadInput(
                f"{path} is not whole: {num_rows} labels, {len(offset)} offsets up to {offset[-1]}, {len(stream)} "
                "bytes of images."
            )

        def read(i: int) -> Any:
            return decode(stream[offset[i] : offset[i + 1]].tobytes(), name(i))
    else:
        values = _first(arrays, ARRAYS, path)
        if len(values) != num_rows:
            raise BadInput(f"{path} has {len(values)} examples and {num_rows} labels.")
        read = values.__getitem__
    classes = _classes(_strings(arrays.get("classes"), None), labels)
    labels = check_labels(labels, num_rows, len(classes))
    which = _strings(arrays.get("split"), num_rows)
    groups, group_names = (None, ()) if "groups" not in arrays else members_of(arrays["groups"])
    whole = Split(labels, read, name, groups, group_names)
    splits = {s: whole.rows(torch.from_numpy(np.array(which) == s)) for s in dict.fromkeys(which)} or {"all": whole}
    return Data(classes, splits, _seen(splits, classes), str(path))


def _parquet(path: Path) -> Data:
    datasets = require("datasets", extra="data")
    try:
        rows = datasets.Dataset.from_parquet(str(path), keep_in_memory=True)
    except Exception as error:  # the library wraps every fault of a file in a different class
        raise BadInput(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from error
    for column in ("image", "label"):
        if column not in rows.column_names:
            raise BadInput(f"{path} has no column {column!r}; it has: {few(rows.column_names)}.")
    feature, images = rows.features["label"], rows.cast_column("image", datasets.Image(decode=False))
    labels = as_tensor(np.asarray(rows["label"]))
    classes = _classes(getattr(feature, "names", None) or [], labels)

    def read(i: int) -> Any:
        image = images[i]["image"]
        return decode(image["bytes"] or Path(image["path"]), name(i))

    def name(i: int) -> str:
        return f"{path.name}, row {i}"

    split = Split(check_labels(labels, len(labels), len(classes)), read, name)
    return Data(classes, {"all": split}, torch.ones(len(classes), dtype=torch.bool), str(path))


def _first(arrays: dict[str, Any], wanted: Sequence[str], path: Path) -> Any:
    for name in wanted:
        if name in arrays:
            return arrays[name]
    raise BadInput(f"{path} has none of {', '.join(wanted)}; it has: {few(arrays, 10) or 'nothing'}.")


def _strings(array: Any, count: int | None) -> list[str]:
    """Text as an array of strings, or as UTF-8 bytes joined by newlines; empty if there is none, or too few."""
    if array is None:
        return []
    text = array.tobytes().decode().split("\n") if array.dtype == np.uint8 else [str(item) for item in array]
    return text if count is None or len(text) == count else []


def _classes(names: Sequence[str], labels: Tensor) -> tuple[str, ...]:
    """The names given, or the numbers from 0 to the largest label."""
    if not names and len(labels) and not labels.is_floating_point():
        names = [str(label) for label in range(int(labels.max()) + 1)]
    return check_classes(names)


def _seen(splits: dict[str, Split], classes: tuple[str, ...]) -> Tensor:
    """The classes of the training split; all of them without one."""
    if "train" not in splits:
        return torch.ones(len(classes), dtype=torch.bool)
    return torch.bincount(splits["train"].labels, minlength=len(classes)) > 0
