"""Snapshots in files: one safetensors file, or where that would be too large several with an index."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reclaim.core.arrays import as_tensor, row_blocks
from reclaim.core.errors import BadInput, few
from reclaim.core.files import atomic_file, existing, load_npz, read_json, write_json
from reclaim.shards import Shards
from reclaim.snapshot import Snapshot, seen_mask

__all__ = ["SHARD_SIZE", "index_of", "is_snapshot", "load_snapshot", "save_snapshot", "snapshot_file"]

SHARD_SIZE = 5 << 30  # bytes of a file
_INDEX = ".index.json"
_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}


def save_snapshot(path: Path, snapshot: Snapshot, *, shard_size: int = SHARD_SIZE) -> None:
    """Write a snapshot; as several files and an index if it is larger than `shard_size` bytes."""
    width = None if snapshot.features is None else snapshot.features.shape[1]
    with snapshot_file(path, snapshot, len(snapshot), width, labelled=snapshot.labels is not None,
                       dtype=snapshot.logits.dtype, shard_size=shard_size) as write:  # fmt: skip
        for block in row_blocks(snapshot.logits):
            labels, features = (None if all_ is None else all_[block] for all_ in (snapshot.labels, snapshot.features))
            write(block.start, snapshot.logits[block], labels, features)


@contextmanager
def snapshot_file(
    path: Path,
    about: Snapshot,
    rows: int,
    width: int | None,
    *,
    labelled: bool = True,
    dtype: torch.dtype = torch.float32,
    shard_size: int = SHARD_SIZE,
) -> Iterator[Callable[[int, Tensor, Tensor | None, Tensor | None], None]]:
    """Write a snapshot block by block: the sizes are known beforehand, so the memory used does not grow with the rows.

    One that is larger than `shard_size` bytes becomes several files and an index, ``NAME.safetensors.index.json``; each
    of the files is a snapshot of its rows, and `path` still names the whole.

    Args:
        about: a snapshot whose classes, seen classes and names the file takes; its rows are ignored.
        rows: N.
        width: D of the features, or None without features.

    Yields: a function that writes one block, given its first row, logits, labels and features.

    Raises: BadInput for a name that says it is another format.
    """
    if path.suffix == ".npz":
        raise BadInput(f"snapshots are written as safetensors, never .npz: {path}. Name it {path.stem}.safetensors.")
    if shard_size < 1:
        raise BadInput(f"the size of a file must be above 0; given: {shard_size}.")
    per_row = (len(about.seen) + (width or 0)) * dtype.itemsize + 8 * labelled
    most = max(1, shard_size // per_row)
    sizes = [min(most, rows - first) for first in range(0, rows, most)] or [0]
    files = [path] if len(sizes) == 1 else _shard_paths(path, len(sizes))
    old = _old_files(path)
    with ExitStack() as stack:
        parts = [
            stack.enter_context(_one_file(file, about, size, width, labelled=labelled, dtype=dtype))
            for file, size in zip(files, sizes, strict=True)
        ]

        def write(first: int, logits: Tensor, labels: Tensor | None, features: Tensor | None) -> None:
            last = first + len(logits)
            for index in range(first // most, -(-last // most)):
                begin = index * most
                part = slice(max(first, begin) - first, min(last, begin + most) - first)
                pick = lambda values, part=part: None if values is None else values[part]  # noqa: E731
                parts[index](max(first, begin) - begin, logits[part], pick(labels), pick(features))

        yield write
    if len(sizes) > 1:
        named = [{"file": file.name, "rows": size} for file, size in zip(files, sizes, strict=True)]
        write_json(index_of(path), {"rows": rows, "shards": named})
    for file in old - {*files, *([index_of(path)] if len(sizes) > 1 else [])}:
        file.unlink(missing_ok=True)


def index_of(path: Path) -> Path:
    """Where the index of a snapshot in several files lies."""
    return path if path.name.endswith(_INDEX) else path.with_name(path.name + _INDEX)


def _shard_paths(path: Path, count: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{i:05d}-of-{count:05d}{path.suffix}") for i in range(1, count + 1)]


def _old_files(path: Path) -> set[Path]:
    """The files of a snapshot that is about to be replaced."""
    index = index_of(path)
    shards = [path.parent / name for name, _ in _read_index(index)] if index.is_file() else []
    return {path, index, *shards} if index.is_file() else {path} if path.is_file() else set()


@contextmanager
def _one_file(
    path: Path, about: Snapshot, rows: int, width: int | None, *, labelled: bool, dtype: torch.dtype
) -> Iterator[Callable[[int, Tensor, Tensor | None, Tensor | None], None]]:
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {"logits": (dtype, (rows, len(about.seen)))}
    if width is not None:
        shapes["features"] = (dtype, (rows, width))
    if labelled:
        shapes["labels"] = (torch.int64, (rows,))
    shapes["seen"] = (torch.bool, (len(about.seen),))
    header: dict[str, Any] = {
        "__metadata__": {
            "classes": json.dumps(about.classes, ensure_ascii=False),
            "split": about.split,
            "model": about.model,
            "data": about.data,
        }
    }
    end, start = 0, {}
    for name, (kind, shape) in shapes.items():
        size = int(np.prod(shape)) * kind.itemsize
        header[name] = {"dtype": _TYPES[kind], "shape": shape, "data_offsets": [end, end + size]}
        start[name], end = end, end + size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    body = 8 + len(text)

    with atomic_file(path) as temporary, temporary.open("r+b") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(body + end)

        def put(name: str, first: int, values: Tensor) -> None:
            kind, shape = shapes[name]
            file.seek(body + start[name] + first * int(np.prod(shape[1:])) * kind.itemsize)
            file.write(values.detach().to("cpu", kind).contiguous().numpy().data)

        def write(first: int, logits: Tensor, labels: Tensor | None, features: Tensor | None) -> None:
            for name, values in (("logits", logits), ("labels", labels), ("features", features)):
                if name in shapes and values is not None:
                    put(name, first, values)

        put("seen", 0, about.seen)
        yield write


def load_snapshot(path: Path, *, finite: bool = False) -> Snapshot:
    """Open a snapshot. A safetensors file is memory-mapped: its logits are read once here, to see that they are finite,
    unless that is known (`finite`), and take no memory of their own. Of several files one is mapped at a time.

    An ``.npz`` with `logits`, `labels` and `seen` (bool [C], or class indices) is read too.

    Args:
        path: the file; of a snapshot in several files the name it was saved under, or that of its index.
    """
    index = index_of(path)
    if index.is_file() and (path == index or not path.exists()):
        return _from_shards(index, finite)
    existing(path)
    return _from_npz(path) if path.suffix == ".npz" else _from_safetensors(path, finite)


def is_snapshot(path: Path) -> bool:
    """Whether a file says that it holds logits, or is the index of several that do. Reads no tensor."""
    if path.is_dir():
        return False
    index = index_of(path)
    if index.is_file() and (path == index or not path.exists()):
        record = read_json(index)
        return isinstance(record, dict) and "shards" in record
    if not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return "logits" in file.keys()  # noqa: SIM118
    except SafetensorError:
        pass  # then an .npz, or neither
    try:
        with zipfile.ZipFile(path) as archive:
            return "logits.npy" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def _from_safetensors(path: Path, finite: bool) -> Snapshot:
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys() if name in _SNAPSHOT_TENSORS}  # noqa: SIM118
    except SafetensorError as error:
        raise BadInput(f"{path} is not a whole safetensors file: {error}.") from error
    _check_snapshot(path, tensors)
    return Snapshot(
        logits=tensors["logits"],
        labels=tensors.get("labels"),
        seen=tensors["seen"],
        features=tensors.get("features"),
        classes=tuple(json.loads(about.get("classes", "[]"))),
        split=about.get("split", ""),
        model=about.get("model", ""),
        data=about.get("data", ""),
        finite=finite,
    )


def _from_shards(index: Path, finite: bool) -> Snapshot:
    named = _read_index(index)
    files, sizes = [index.parent / name for name, _ in named], [rows for _, rows in named]
    first: Snapshot | None = None
    labels: list[Tensor] = []
    for file, rows in zip(files, sizes, strict=True):
        part = _from_safetensors(existing(file), finite=True)
        first = first or part
        same = (part.classes == first.classes and torch.equal(part.seen, first.seen)
                and part.logits.dtype == first.logits.dtype and (part.labels is None) == (first.labels is None)
                and (part.features is None) == (first.features is None))  # fmt: skip
        if len(part) != rows or not same:
            raise BadInput(f"{file} does not belong to {index}: it has other rows, classes or tensors. Predict again.")
        if part.labels is not None:
            labels.append(part.labels.clone())
    assert first is not None
    shards = lambda name, like: Shards([partial(_tensor, file, name) for file in files], sizes, like)  # noqa: E731
    return replace(
        first,
        logits=shards("logits", first.logits),
        labels=None if first.labels is None else torch.cat(labels),
        seen=first.seen.clone(),  # a view would keep its file mapped
        features=None if first.features is None else shards("features", first.features),
        finite=finite,
    )


def _tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor(name)


def _read_index(index: Path) -> list[tuple[str, int]]:
    """The names of the files, without folders, and their numbers of rows."""
    record = read_json(index)
    try:
        named = [(Path(str(shard["file"])).name, int(shard["rows"])) for shard in record["shards"]]
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput(
            f"{index} is no index of a snapshot; `reclaim predict` writes one for large snapshots."
        ) from error
    if not named:
        raise BadInput(f"{index} names no files.")
    return named


_SNAPSHOT_TENSORS = ("logits", "labels", "seen", "features")


def _from_npz(path: Path) -> Snapshot:
    arrays = load_npz(path)
    _check_snapshot(path, arrays)
    logits = as_tensor(arrays["logits"])
    seen = as_tensor(arrays["seen"])
    if seen.dtype != torch.bool:
        seen = seen_mask(seen, logits.shape[1] if logits.ndim == 2 else 0)
    return Snapshot(
        logits=logits,
        labels=arrays.get("labels"),
        seen=seen,
        features=arrays.get("features"),
        classes=tuple(str(name) for name in arrays.get("classes", ())),
        split=str(arrays.get("split", "")),
        data=str(arrays.get("data", "")),
    )


def _check_snapshot(path: Path, tensors: Mapping[str, object]) -> None:
    for name in ("logits", "seen"):
        if name not in tensors:
            raise BadInput(
                f"{path} is no snapshot: it has no {name!r} (it has: {few(tensors) or 'nothing'}).\n"
                "  A snapshot holds logits [N, C], labels [N] and seen (bool [C], or class indices); "
                "`reclaim predict` writes one."
            )
