"""Reading snapshots: one safetensors file, or several with an index, or an ``.npz``."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reclaim.core.arrays import as_tensor
from reclaim.core.errors import BadInput, few
from reclaim.core.files import existing, load_npz, read_json
from reclaim.core.groups import members_of
from reclaim.snapshots.probabilities import logarithm
from reclaim.snapshots.shards import Shards
from reclaim.snapshots.snapshot import Snapshot, seen_mask

__all__ = ["index_of", "is_snapshot", "load_snapshot", "read_index", "reopen_snapshot"]

_INDEX = ".index.json"


def index_of(path: Path) -> Path:
    """Where the index of a snapshot in several files lies."""
    return path if path.name.endswith(_INDEX) else path.with_name(path.name + _INDEX)


def load_snapshot(path: Path, *, probabilities: bool = False, floor: float = 0.0) -> Snapshot:
    """Open a snapshot. A safetensors file is memory-mapped: its logits are read once here, to see that they are finite,
    and take no memory of their own. Of several files one is mapped at a time.

    An ``.npz`` with `logits`, `labels` and `seen` (bool [C], or class indices) is read too, with `groups` [N] if rows
    belong together: numbers, or names.

    Args:
        path: the file; of a snapshot in several files the name it was saved under, or that of its index.
        probabilities: the file holds probabilities instead of logits; their logarithm is taken.
        floor: with them, the probability that stands for smaller ones, zeros above all; 0 for none.

    Raises: BadInput if the file is no snapshot, or holds probabilities and is not said to.
    """
    try:
        if path.suffix == ".npz" and not _index(path):
            read = _from_npz(existing(path), finite=probabilities)
        else:
            read = _opened(path, finite=probabilities)
    except BadInput as error:
        if not any(argument.name == "logits" for argument in error.do):
            raise
        raise BadInput(f"{path}: {error.what}", *error.do) from error
    return replace(read, logits=logarithm(read.logits, floor=floor)) if probabilities else read


def reopen_snapshot(path: Path) -> Snapshot:
    """Open a snapshot that this program has just written, of logits that it checked: they are not read again."""
    return _opened(path, finite=True)


def _index(path: Path) -> Path | None:
    """The index, if the snapshot is in several files."""
    index = index_of(path)
    return index if index.is_file() and (path == index or not path.exists()) else None


def _opened(path: Path, *, finite: bool) -> Snapshot:
    index = _index(path)
    return _from_shards(index, finite) if index else _from_safetensors(existing(path), finite)


def is_snapshot(path: Path) -> bool:
    """Whether a file says that it holds logits, or is the index of several that do. Reads no tensor."""
    if path.is_dir():
        return False
    if index := _index(path):
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
        model_identity=about.get("model_identity", ""),
        checked=tensors["logits"] if finite else None,
        groups=tensors.get("groups"),
        group_names=tuple(json.loads(about.get("group_names", "[]"))),
    )


def _from_shards(index: Path, finite: bool) -> Snapshot:
    named = read_index(index)
    files, sizes = [index.parent / name for name, _ in named], [rows for _, rows in named]
    first: Snapshot | None = None
    labels: list[Tensor] = []
    groups: list[Tensor] = []
    for file, rows in zip(files, sizes, strict=True):
        part = _from_safetensors(existing(file), finite=True)
        first = first or part
        same = (
            part.classes == first.classes
            and torch.equal(part.seen, first.seen)
            and part.logits.dtype == first.logits.dtype
            and part.model_identity == first.model_identity
            and (part.labels is None) == (first.labels is None)
            and (part.features is None) == (first.features is None)
            and (part.groups is None) == (first.groups is None)
            and part.group_names == first.group_names
        )
        if len(part) != rows or not same:
            raise BadInput(f"{file} does not belong to {index}: it has other rows, classes or tensors. Predict again.")
        if part.labels is not None:
            labels.append(part.labels.clone())
        if part.groups is not None:
            groups.append(part.groups.clone())
    assert first is not None
    logits = _shards("logits", files, sizes, first.logits)
    return replace(
        first,
        logits=logits,
        labels=None if first.labels is None else torch.cat(labels),
        groups=torch.cat(groups) if groups else None,
        seen=first.seen.clone(),  # a view would keep its file mapped
        features=None if first.features is None else _shards("features", files, sizes, first.features),
        checked=logits if finite else None,
    )


def _shards(name: str, files: list[Path], sizes: list[int], like: Tensor) -> Shards:
    return Shards([partial(_tensor, file, name) for file in files], sizes, like)


def _tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor(name)


def read_index(index: Path) -> list[tuple[str, int]]:
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


_SNAPSHOT_TENSORS = ("logits", "labels", "seen", "features", "groups")


def _from_npz(path: Path, finite: bool) -> Snapshot:
    arrays = load_npz(path)
    _check_snapshot(path, arrays)
    logits = as_tensor(arrays["logits"])
    seen = as_tensor(arrays["seen"])
    if seen.dtype != torch.bool:
        seen = seen_mask(seen, logits.shape[1] if logits.ndim == 2 else 0)
    groups, names = (None, ()) if "groups" not in arrays else members_of(arrays["groups"])
    return Snapshot(
        logits=logits,
        labels=arrays.get("labels"),
        seen=seen,
        features=arrays.get("features"),
        classes=tuple(str(name) for name in arrays.get("classes", ())),
        split=str(arrays.get("split", "")),
        data=str(arrays.get("data", "")),
        groups=groups,
        group_names=tuple(str(name) for name in arrays.get("group_names", ())) or names,
        checked=logits if finite else None,
    )


def _check_snapshot(path: Path, tensors: Mapping[str, object]) -> None:
    for name in ("logits", "seen"):
        if name not in tensors:
            raise BadInput(
                f"{path} is no snapshot: it has no {name!r} (it has: {few(tensors) or 'nothing'}).\n"
                "  A snapshot holds logits [N, C], labels [N] and seen (bool [C], or class indices); "
                "`reclaim predict` writes one."
            )
