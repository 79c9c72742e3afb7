"""Snapshots and calibrators in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from reclaim.arrays import as_tensor
from reclaim.atomic import atomic_file, existing, load_npz, read_json, write_json
from reclaim.calibrators import Calibrator
from reclaim.calibrators.chain import Chain
from reclaim.errors import BadInput, few
from reclaim.plugins import find
from reclaim.snapshot import Snapshot, seen_mask

__all__ = [
    "calibrator_record",
    "load_calibrator",
    "load_snapshot",
    "save_calibrator",
    "save_snapshot",
    "snapshot_file",
]

_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot as one safetensors file."""
    with snapshot_file(path, snapshot, len(snapshot), None if snapshot.features is None else snapshot.features.shape[1],
                       labelled=snapshot.labels is not None, dtype=snapshot.logits.dtype) as write:  # fmt: skip
        write(0, snapshot.logits, snapshot.labels, snapshot.features)


@contextmanager
def snapshot_file(
    path: Path,
    about: Snapshot,
    rows: int,
    width: int | None,
    *,
    labelled: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Callable[[int, Tensor, Tensor | None, Tensor | None], None]]:
    """Write a snapshot block by block: the sizes are known beforehand, so the memory used does not grow with the rows.

    Args:
        about: a snapshot whose classes, seen classes and names the file takes; its rows are ignored.
        rows: N.
        width: D of the features, or None without features.

    Yields: a function that writes one block, given its first row, logits, labels and features.

    Raises: BadInput for a name that says it is another format.
    """
    if path.suffix == ".npz":
        raise BadInput(f"snapshots are written as safetensors, never .npz: {path}. Name it {path.stem}.safetensors.")
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
    unless that is known (`finite`), and take no memory of their own.

    An ``.npz`` with `logits`, `labels` and `seen` (bool [C], or class indices) is read too.
    """
    existing(path)
    return _from_npz(path) if path.suffix == ".npz" else _from_safetensors(path, finite)


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


def calibrator_record(calibrator: Calibrator) -> dict[str, Any]:
    """A calibrator as JSON can hold it: its method's name and its fields. Of tensors it has the name and the shape."""
    return _record(calibrator, {})


def _record(calibrator: Calibrator, tensors: dict[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """The record; tensors are put into `tensors`, by their names with `prefix`."""
    if isinstance(calibrator, Chain):
        steps = [_record(step, tensors, f"{prefix}{index}.") for index, step in enumerate(calibrator.steps)]
        return {"method": "chain", "steps": steps}
    record: dict[str, Any] = {"method": type(calibrator).__module__.rpartition(".")[2].replace("_", "-")}
    for field in fields(calibrator):  # type: ignore[arg-type]
        value = getattr(calibrator, field.name)
        if isinstance(value, Tensor):
            tensors[prefix + field.name] = value.contiguous()
            value = {"tensor": prefix + field.name, "shape": list(value.shape)}
        record[field.name] = value
    return record


def save_calibrator(path: Path, calibrator: Calibrator) -> dict[str, Any]:
    """Write a calibrator as JSON, its tensors beside it as ``NAME.tensors.safetensors``. Returns what was written."""
    tensors: dict[str, Tensor] = {}
    record = _record(calibrator, tensors)
    if tensors:
        beside = path.with_suffix(".tensors.safetensors")
        with atomic_file(beside) as temporary:
            save_file(tensors, temporary)
        record["tensors"] = {"file": beside.name, "sha256": _checksum(beside)}
    write_json(path, record)
    return record


def load_calibrator(path: Path) -> Calibrator:
    """Read a calibrator that `save_calibrator` wrote."""
    record, tensors = read_json(path), {}
    if isinstance(record, dict) and "tensors" in record:
        about = record.pop("tensors")
        beside = existing(path.parent / Path(str(about.get("file"))).name)
        if _checksum(beside) != about.get("sha256"):
            raise BadInput(f"{beside} is not the file that was written with {path}; fit the calibrator again.")
        tensors = load_file(beside)
    return _calibrator(record, path, tensors)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _calibrator(record: Any, path: Path, tensors: Mapping[str, Tensor]) -> Calibrator:
    if not isinstance(record, dict) or "method" not in record:
        raise BadInput(f"{path} holds no calibrator: it has no 'method'. `reclaim calibrate … --out FILE` writes one.")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    made = find("calibrators", str(values.pop("method")))
    if made is Chain:
        return Chain(tuple(_calibrator(step, path, tensors) for step in values.get("steps", ())))
    for key, value in values.items():
        if isinstance(value, dict) and "tensor" in value:
            if value["tensor"] not in tensors:
                raise BadInput(f"{path} has lost its tensor {value['tensor']!r}; fit the calibrator again.")
            values[key] = tensors[value["tensor"]]
    try:
        return made(**values)
    except TypeError as error:
        raise BadInput(f"{path} is not a complete {record['method']!r} calibrator: {error}.") from error
