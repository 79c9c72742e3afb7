"""Writing snapshots: one safetensors file, or where that would be too large several with an index."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import row_blocks
from reclaim.core.errors import BadInput
from reclaim.core.files import Group, atomic_file, together, write_json
from reclaim.core.kinds import check_suffix
from reclaim.core.numbers import Bytes, in_range
from reclaim.core.several import Several
from reclaim.snapshots.index import index_of, named_as_shard, read_index, shard_names
from reclaim.snapshots.reading import metadata
from reclaim.snapshots.sealing import UNSEALED, seal
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["SHARD_SIZE", "save_snapshot", "snapshot_file"]

SHARD_SIZE = 5 << 30  # bytes of a file
_TYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.bool: "BOOL",
}


@in_range
def save_snapshot(path: Path, snapshot: Snapshot, *, shard_size: Bytes = SHARD_SIZE) -> None:
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
    us: Several = Several(),
) -> Iterator[Callable[[int, Tensor, Tensor | None, Tensor | None], None]]:
    """Write a snapshot block by block: the sizes are known beforehand, so the memory used does not grow with the rows.

    One that is larger than `shard_size` bytes becomes several files and an index, ``NAME.safetensors.index.json``; each
    of the files is a snapshot of its rows, and `path` still names the whole.

    Args:
        about: a snapshot whose classes, seen classes and names the file takes; its rows are ignored.
        rows: N.
        width: D of the features, or None without features.
        groups, group_names: [N], which rows belong together, and what the groups are called.
        us: of several processes, all of which come here, each writes files of its own share of the rows, and the first
            one the index, once all files are whole.

    Yields: a function that writes one block, given its first row, logits, labels and features.

    Raises: BadInput for a name that says it is another format, or a type that no snapshot has.
    """
    _check(path, dtype, shard_size)
    per_row = (len(about.seen) + (width or 0)) * dtype.itemsize + 8 * labelled + 8 * (groups is not None)
    most = max(1, shard_size // per_row)
    spans = [part for rank in range(us.count) for part in _cut(us.share(rows, rank), most)] or [range(0)]
    run = us.each(secrets.token_hex(4))[0] if len(spans) > 1 or us.count > 1 else ""
    files = [path.with_name(name) for name in shard_names(path, len(spans), run)] if run else [path]
    own_spans = _cut(us.share(rows), most) or [range(0)][us.rank :]
    old, seals = _old_files(path) if us.first else set(), dict[Path, str]()
    with together(path, us) as group:
        with ExitStack() as stack:
            parts = {}
            for span, file, place in zip(spans, files, _places(run, len(spans)), strict=True):
                if span in own_spans:
                    own = None if groups is None else groups[span.start : span.stop]
                    parts[span] = stack.enter_context(
                        _one_file(file, about, len(span), width, labelled, dtype, own, group_names, place, seals)
                    )
            yield partial(_write, parts)
        if run:  # the index comes last: until then the old snapshot is whole, and its files have other names
            made, seals = _handed_over(group, seals, us)
            group.files[:] = made if us.first else []
            named = [{"file": f.name, "rows": len(n), "checksum": seals[f]} for f, n in zip(files, spans, strict=True)]
            if us.first:
                write_json(index_of(path), {"rows": rows, "run": run, "shards": named})
        if us.first:
            group.obsolete.extend(sorted(old - {*files, *([index_of(path)] if run else [])}))


Write = Callable[[int, Tensor, Tensor | None, Tensor | None], None]  # first row, logits, labels, features


def _write(
    parts: Mapping[range, Write], first: int, logits: Tensor, labels: Tensor | None, features: Tensor | None
) -> None:
    """Write a block into the files of its rows."""
    last = first + len(logits)
    for span, part in parts.items():
        begin, end = max(first, span.start), min(last, span.stop)
        if begin < end:
            of = slice(begin - first, end - first)
            labels_, features_ = (None if values is None else values[of] for values in (labels, features))
            part(begin - span.start, logits[of], labels_, features_)


def _cut(rows: range, most: int) -> list[range]:
    """Runs of at most so many rows."""
    return [rows[first : first + most] for first in range(0, len(rows), most)]


def _handed_over(group: Group, seals: dict[Path, str], us: Several) -> tuple[list[tuple[Path, Path]], dict[Path, str]]:
    """The files of all processes, in the order of their rows, with their names; and their checksums."""
    each = us.each((group.files, seals))
    return [file for files, _ in each for file in files], {
        path: seal for _, made in each for path, seal in made.items()
    }


def _check(path: Path, dtype: torch.dtype, shard_size: int) -> None:
    check_suffix(path, ".safetensors")
    if shard_size < 1:
        raise BadInput(f"the size of a file must be above 0; given: {shard_size}.")
    if not dtype.is_floating_point or dtype not in _TYPES:
        known = ", ".join(str(kind) for kind in _TYPES if kind.is_floating_point)
        raise BadInput(f"snapshots hold logits of {known}; given: {dtype}.")


def _places(run: str, count: int) -> list[dict[str, str]]:
    """What the header of each file says of where it belongs, which the index is compared with; alone, nothing."""
    return [{"run": run, "shard": f"{number} of {count}"} if run else {} for number in range(1, count + 1)]


def _old_files(path: Path) -> set[Path]:
    """The files of a snapshot that is about to be replaced: those that are surely its own.

    Of what an index names, these are the files that are called as its shards are, and say that they are of its run.
    """
    alone, index = {path} if path.is_file() else set(), index_of(path)
    try:
        found = read_index(index) if index.is_file() else None
    except BadInput:  # another program's, or damaged: what it names is left alone
        found = None
    if found is None:
        return alone
    named = [path.parent / shard.file for shard in found.shards if named_as_shard(shard.file, path)]
    return {*alone, index, *(file for file in named if _run(file) == found.run)}


def _run(shard: Path) -> str | None:
    """The run that a shard says it is of; None if it is no shard."""
    try:
        return metadata(shard).get("run", "")
    except BadInput:
        return None


def _shapes(
    classes: int, rows: int, width: int | None, dtype: torch.dtype, *, labelled: bool, grouped: bool
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of each tensor of a file, in their order there."""
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {"logits": (dtype, (rows, classes))}
    if width is not None:
        shapes["features"] = (dtype, (rows, width))
    if labelled:
        shapes["labels"] = (torch.int64, (rows,))
    if grouped:
        shapes["groups"] = (torch.int64, (rows,))
    return shapes | {"seen": (torch.bool, (classes,))}


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
    place: dict[str, str],
    seals: dict[Path, str],
) -> Iterator[Callable[[int, Tensor, Tensor | None, Tensor | None], None]]:
    shapes = _shapes(len(about.seen), rows, width, dtype, labelled=labelled, grouped=groups is not None)
    header: dict[str, Any] = {
        "__metadata__": {
            "checksum": UNSEALED,
            **place,
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

    with atomic_file(path) as temporary, temporary.open("r+b") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)

        def put(name: str, first: int, values: Tensor) -> None:
            kind, shape = shapes[name]
            file.seek(8 + len(text) + start[name] + first * int(np.prod(shape[1:])) * kind.itemsize)
            flat = values.detach().to("cpu", kind).contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)  # as bytes, for NumPy lacks a type of torch's

        def write(first: int, logits: Tensor, labels: Tensor | None, features: Tensor | None) -> None:
            for name, values in (("logits", logits), ("labels", labels), ("features", features)):
                if name in shapes and values is not None:
                    put(name, first, values)

        put("seen", 0, about.seen)
        if groups is not None:
            put("groups", 0, groups)
        yield write
        file.flush()
        seals[path] = seal(temporary)
