"""Writing snapshots: one safetensors file, or where that would be too large several with an index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks
from reclaim.core.errors import BadInput
from reclaim.core.files import atomic_file, write_json
from reclaim.snapshots.reading import index_of, read_index
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["SHARD_SIZE", "save_snapshot", "snapshot_file"]

SHARD_SIZE = 5 << 30  # bytes of a file
_TYPES = {
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.bool: "BOOL",
}


def save_snapshot(path: Path, snapshot: Snapshot, *, shard_size: int = SHARD_SIZE) -> None:
    """Write a snapshot; as several files and an index if it is larger than `shard_size` bytes."""
    width = None if snapshot.features is None else snapshot.features.shape[1]
    with snapshot_file(
        path,
        snapshot,
        len(snapshot),
        width,
        labelled=snapshot.labels is not None,
        groups=snapshot.groups,
        group_names=snapshot.group_names,
        dtype=snapshot.logits.dtype,
        shard_size=shard_size,
    ) as write:
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
    groups: Tensor | None = None,
    group_names: tuple[str, ...] = (),
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
        groups, group_names: [N], which rows belong together, and what the groups are called.

    Yields: a function that writes one block, given its first row, logits, labels and features.

    Raises: BadInput for a name that says it is another format.
    """
    if path.suffix == ".npz":
        raise BadInput(f"snapshots are written as safetensors, never .npz: {path}. Name it {path.stem}.safetensors.")
    if shard_size < 1:
        raise BadInput(f"the size of a file must be above 0; given: {shard_size}.")
    per_row = (len(about.seen) + (width or 0)) * dtype.itemsize + 8 * labelled + 8 * (groups is not None)
    most = max(1, shard_size // per_row)
    sizes = [min(most, rows - first) for first in range(0, rows, most)] or [0]
    files = [path] if len(sizes) == 1 else _shard_paths(path, len(sizes))
    old = _old_files(path)
    with ExitStack() as stack:
        own = [None] * len(sizes) if groups is None else groups.split(most)
        parts = [
            stack.enter_context(_one_file(file, about, size, width, labelled, dtype, mine, group_names))
            for file, size, mine in zip(files, sizes, own, strict=True)
        ]

        def write(first: int, logits: Tensor, labels: Tensor | None, features: Tensor | None) -> None:
            last = first + len(logits)
            for index in range(first // most, -(-last // most)):
                begin = index * most
                part = slice(max(first, begin) - first, min(last, begin + most) - first)
                labels_, features_ = (None if values is None else values[part] for values in (labels, features))
                parts[index](max(first, begin) - begin, logits[part], labels_, features_)

        yield write
    if len(sizes) > 1:
        named = [{"file": file.name, "rows": size} for file, size in zip(files, sizes, strict=True)]
        write_json(index_of(path), {"rows": rows, "shards": named})
    for file in old - {*files, *([index_of(path)] if len(sizes) > 1 else [])}:
        file.unlink(missing_ok=True)


def _shard_paths(path: Path, count: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{i:05d}-of-{count:05d}{path.suffix}") for i in range(1, count + 1)]


def _old_files(path: Path) -> set[Path]:
    """The files of a snapshot that is about to be replaced."""
    index = index_of(path)
    shards = [path.parent / name for name, _ in read_index(index)] if index.is_file() else []
    return {path, index, *shards} if index.is_file() else {path} if path.is_file() else set()


@contextmanager
def _one_file(
    path: Path,
    about: Snapshot,
    rows: int,
    width: int | None,
    labelled: bool,
    dtype: torch.dtype,
    groups: Tensor | None,
    group_names: tuple[str, ...],
) -> Iterator[Callable[[int, Tensor, Tensor | None, Tensor | None], None]]:
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {"logits": (dtype, (rows, len(about.seen)))}
    if width is not None:
        shapes["features"] = (dtype, (rows, width))
    if labelled:
        shapes["labels"] = (torch.int64, (rows,))
    if groups is not None:
        shapes["groups"] = (torch.int64, (rows,))
    shapes["seen"] = (torch.bool, (len(about.seen),))
    header: dict[str, Any] = {
        "__metadata__": {
            "classes": json.dumps(about.classes, ensure_ascii=False),
            "split": about.split,
            "model": about.model,
            "data": about.data,
            **({"model_identity": about.model_identity} if about.model_identity else {}),
            **({"group_names": json.dumps(group_names, ensure_ascii=False)} if group_names else {}),
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
            file.write(values.detach().to("cpu", kind).contiguous().view(torch.uint8).numpy().data)

        def write(first: int, logits: Tensor, labels: Tensor | None, features: Tensor | None) -> None:
            for name, values in (("logits", logits), ("labels", labels), ("features", features)):
                if name in shapes and values is not None:
                    put(name, first, values)

        put("seen", 0, about.seen)
        if groups is not None:
            put("groups", 0, groups)
        yield write
