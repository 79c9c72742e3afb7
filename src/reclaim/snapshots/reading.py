"""Reading snapshots: one safetensors file, or several with an index, or an ``.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reclaim.core.checks import check_logits
from reclaim.core.errors import BadInput, within
from reclaim.core.files import existing
from reclaim.core.joining import unnamed
from reclaim.core.kinds import kind_of_file
from reclaim.core.name_lists import names_in
from reclaim.core.records import parse_json, typed
from reclaim.core.several import several
from reclaim.snapshots.arrays import Told, told_labels
from reclaim.snapshots.elsewhere import check_snapshot, snapshot_of_arrays
from reclaim.snapshots.index import index_of, is_index, read_index
from reclaim.snapshots.probabilities import logarithm
from reclaim.snapshots.sealing import check_seal
from reclaim.snapshots.shards import Shards
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["is_snapshot", "load_snapshot", "metadata", "reopen_snapshot"]

_TENSORS = ("logits", "labels", "seen", "features", "groups")


def load_snapshot(path: Path, *, probabilities: bool = False, floor: float = 0.0, told: Told = Told()) -> Snapshot:
    """Open a snapshot. A safetensors file is memory-mapped: its logits are read once here, to see that they are finite,
    and take no memory of their own. Of several files one is mapped at a time.

    Arrays from elsewhere are read too, told by their content: an ``.npz`` or a torch file with `logits`, `labels` and
    `seen` (bool [C], or class indices), with `groups` [N] if rows belong together; an ``.npy``; a table (CSV, JSON
    lines, Parquet) with a column of lists called `logits`, or a column for each class, which is its name.

    Args:
        path: the file; of a snapshot in several files the name it was saved under, or that of its index.
        probabilities: the file holds probabilities instead of logits; their logarithm is taken.
        floor: with them, the probability that stands for smaller ones, zeros above all; 0 for none.
        told: what the file does not say: labels, seen classes, names of classes.

    Raises: BadInput if the file is no snapshot, or holds probabilities and is not said to, or is told what it says.
    """
    kind = None if _index(path) else kind_of_file(path)
    if kind == "other" and path.suffix == ".npz":
        kind = "npz"  # and broken
    if kind in ("npz", "npy", "torch", "parquet", "json", "json lines", "text"):
        read = snapshot_of_arrays(path, kind, told, raw=probabilities)
    else:
        read = _told(_opened(path, raw=probabilities), told, path)
    if not probabilities:
        return read
    with within(path):
        return replace(read, logits=logarithm(read.logits, floor=floor))


def reopen_snapshot(path: Path) -> Snapshot:
    """Open a snapshot that this program has just written, of logits that it checked: they are not read again."""
    return _opened(path, raw=True, ours=True)


def _index(path: Path) -> Path | None:
    """The index, if the snapshot is in several files."""
    index = index_of(path)
    return index if index.is_file() and (path == index or not path.exists()) else None


def _opened(path: Path, *, raw: bool, ours: bool = False) -> Snapshot:
    """The snapshot in one file or several.

    Args:
        raw: do not look whether it holds logits.
        ours: this program has just written it: its bytes are not read to check them.
    """
    index = _index(path)
    if index:
        return _from_shards(index, raw=raw, ours=ours)
    return _from_safetensors(existing(path), raw=raw, ours=ours)


def is_snapshot(path: Path) -> bool:
    """Whether a file says that it holds logits, or is the index of several that do. Reads no tensor."""
    if path.is_dir():
        return False
    if index := _index(path):
        return is_index(index)
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
    except (zipfile.BadZipFile, NotImplementedError):  # damaged, or of a version of the format that Python has not
        return False


def metadata(path: Path) -> dict[str, str]:
    """What a snapshot's header says of it besides its tensors.

    Raises: BadInput if the file is damaged.
    """
    try:
        with safe_open(existing(path), "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise BadInput(f"{path} is not a whole safetensors file: {error}.") from error


def _from_safetensors(path: Path, first_row: int = 0, *, raw: bool, ours: bool) -> Snapshot:
    """The snapshot in one file, whose rows are counted from `first_row` in messages."""
    about = metadata(path)
    if not ours:
        check_seal(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys() if name in _TENSORS}  # noqa: SIM118
    except (SafetensorError, AttributeError, RuntimeError) as error:  # a type that torch has not, in the last two
        raise BadInput(f"{path} holds tensors that cannot be read: {error}.") from error
    check_snapshot(path, tensors)
    with within(path):
        if not raw:
            check_logits(tensors["logits"], first_row)
        return Snapshot(
            logits=tensors["logits"],
            labels=tensors.get("labels"),
            seen=tensors["seen"],
            features=tensors.get("features"),
            classes=_names(path, about, "classes"),
            split=about.get("split", ""),
            model=about.get("model", ""),
            data=about.get("data", ""),
            model_identity=about.get("model_identity", ""),
            checked=tensors["logits"],
            groups=tensors.get("groups"),
            group_names=_names(path, about, "group_names"),
        )


def _names(path: Path, about: Mapping[str, str], key: str) -> tuple[str, ...]:
    what = f"{path}, {key} in its metadata"
    names: tuple[str, ...] = typed(parse_json(about.get(key, "[]"), what), tuple[str, ...], what)
    return names


def _from_shards(path: Path, *, raw: bool, ours: bool) -> Snapshot:
    index = read_index(path)
    files, sizes = [path.parent / shard.file for shard in index.shards], [shard.rows for shard in index.shards]
    first: Snapshot | None = None
    labels: list[Tensor] = []
    groups: list[Tensor] = []
    mine = several().share(len(files))  # of several processes each checks files of its own
    for number, (file, shard) in enumerate(zip(files, index.shards, strict=True)):
        about = metadata(file)
        place = f"{number + 1} of {len(files)}" if index.run else ""
        if (about.get("run", ""), about.get("shard", "")) != (index.run, place):
            raise BadInput(
                f"{file} does not belong to {path}: it is of another run, or of another place. Predict again."
            )
        if shard.checksum and about.get("checksum") != shard.checksum:
            raise BadInput(f"{file} does not belong to {path}: its checksum is another one. Predict again.")
        checked = number not in mine
        part = _from_safetensors(file, sum(sizes[:number]), raw=raw or checked, ours=ours or checked)
        first = first or part
        same = (
            part.classes == first.classes
            and torch.equal(part.seen, first.seen)
            and part.logits.dtype == first.logits.dtype
            and part.model_identity == first.model_identity
            and (part.labels is None) == (first.labels is None)
            and (part.features is None) == (first.features is None)
            and (part.features is None or first.features is None or part.features.shape[1:] == first.features.shape[1:])
            and (part.features is None or first.features is None or part.features.dtype == first.features.dtype)
            and (part.groups is None) == (first.groups is None)
            and part.group_names == first.group_names
        )
        if len(part) != shard.rows or not same:
            raise BadInput(f"{file} does not belong to {path}: it has other rows, classes or tensors. Predict again.")
        if part.labels is not None:
            labels.append(part.labels.clone())
        if part.groups is not None:
            groups.append(part.groups.clone())
    assert first is not None
    several().wait()  # a file that is refused ends them all
    logits = _shards("logits", files, sizes, first.logits)
    return replace(
        first,
        logits=logits,
        labels=None if first.labels is None else torch.cat(labels),
        groups=torch.cat(groups) if groups else None,
        seen=first.seen.clone(),  # a view would keep its file mapped
        features=None if first.features is None else _shards("features", files, sizes, first.features),
        checked=logits,
    )


def _shards(name: str, files: list[Path], sizes: list[int], like: Tensor) -> Shards:
    return Shards([partial(_tensor, file, name) for file in files], sizes, like)


def _tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor(name)


def _told(read: Snapshot, told: Told, path: Path) -> Snapshot:
    """A snapshot with what is told of it."""
    told = told.without(labels=read.labels is not None, seen=True, classes=not unnamed(read.classes), path=path)
    if told.classes is not None:
        read = replace(read, classes=tuple(names_in(told.classes)))
    if told.labels is not None:
        read = replace(read, labels=told_labels(told.labels, read.classes, read.seen))
    return replace(read, seen=torch.ones_like(read.seen)) if told.all_classes else read
