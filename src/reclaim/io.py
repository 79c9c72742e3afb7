"""Files: snapshots, weights, calibrators, records. Everything is written beside its place and renamed into it, so that
a full disk or a kill leaves the old file whole; nothing that is read can run code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from reclaim.arrays import as_tensor
from reclaim.calibrators import Calibrator
from reclaim.calibrators.chain import Chain
from reclaim.errors import BadInput, few
from reclaim.plugins import find
from reclaim.snapshot import Snapshot, seen_mask
from reclaim.weights import Weights

__all__ = [
    "Container",
    "atomic_directory",
    "atomic_file",
    "calibrator_record",
    "check_free",
    "load_calibrator",
    "load_npz",
    "load_snapshot",
    "load_weights",
    "put_in_place",
    "read_json",
    "save_calibrator",
    "save_snapshot",
    "save_weights",
    "snapshot_file",
    "write_json",
]


# --- places ---------------------------------------------------------------------------------------------------------


def check_free(path: Path, *, force: bool = False) -> None:
    """Raise if `path` exists, before any work is done, unless it may be replaced."""
    if (path.exists() or path.is_symlink()) and not force:
        raise BadInput(f"{path} exists already; give another --out, or --force to replace it.")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name if the block succeeds, and vanishes if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name if the block succeeds; an old one goes only then."""
    check_free(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        put_in_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished folder its name; what had the name before is removed only afterwards."""
    for file in temporary.rglob("*"):
        _flush(file)
    if not (path.exists() or path.is_symlink()):
        temporary.replace(path)
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)) / path.name
        path.replace(old)
        temporary.replace(path)
        shutil.rmtree(old.parent, ignore_errors=True)
    _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- records --------------------------------------------------------------------------------------------------------


def write_json(path: Path, record: object) -> None:
    """Write a record; NaN and infinities are refused, because JSON has none."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a record, or say what is wrong with the file."""
    try:
        return json.loads(_existing(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not valid JSON: {error}.") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise BadInput(f"{path} is not a file." if path.exists() else f"there is no file {path}.")
    return path


# --- calibrators ----------------------------------------------------------------------------------------------------


def calibrator_record(calibrator: Calibrator) -> dict[str, Any]:
    """A calibrator as JSON can hold it: its method's name and its fields."""
    if isinstance(calibrator, Chain):
        return {"method": "chain", "steps": [calibrator_record(step) for step in calibrator.steps]}
    name = type(calibrator).__module__.rpartition(".")[2].replace("_", "-")
    return {"method": name, **asdict(calibrator)}  # type: ignore[call-overload]


def save_calibrator(path: Path, calibrator: Calibrator) -> None:
    """Write a calibrator as JSON."""
    write_json(path, calibrator_record(calibrator))


def load_calibrator(path: Path) -> Calibrator:
    """Read a calibrator that `save_calibrator` wrote."""
    return _calibrator(read_json(path), path)


def _calibrator(record: Any, path: Path) -> Calibrator:
    if not isinstance(record, dict) or "method" not in record:
        raise BadInput(f"{path} holds no calibrator: it has no 'method'. `reclaim calibrate … --out FILE` writes one.")
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    made = find("calibrators", str(fields.pop("method")))
    if made is Chain:
        return Chain(tuple(_calibrator(step, path) for step in fields.get("steps", ())))
    try:
        return made(**fields)
    except TypeError as error:
        raise BadInput(f"{path} is not a complete {record['method']!r} calibrator: {error}.") from error


# --- snapshots ------------------------------------------------------------------------------------------------------

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
    """
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
    _existing(path)
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


def load_npz(path: Path) -> dict[str, Any]:
    """The arrays of an ``.npz``, never unpickled."""
    try:
        with _existing(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError, KeyError, AttributeError) as error:
        reason = "it holds pickled objects" if "pickle" in str(error) else f"{error}"
        raise BadInput(f"{path} is not a readable .npz: {reason}.") from error


# --- weights --------------------------------------------------------------------------------------------------------

_NESTS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Container:
    """How a checkpoint file holds its weights, so that new weights can be handed back the same way.

    Attributes:
        suffix: ".safetensors", or ".pth" for torch's own files.
        nest: the key under which the state dict lies, if it lies under one.
        prefix: what every name starts with ("module." from parallel training).
        dtype: the floating-point type, where all entries share a shorter one than float32.
    """

    suffix: str = ".safetensors"
    nest: str | None = None
    prefix: str = ""
    dtype: torch.dtype | None = None


def load_weights(path: Path) -> tuple[Weights, Container]:
    """Read a state dict from a ``.safetensors`` or a torch file, without running code from it.

    Raises: BadInput for a truncated or pickled file, or one that holds no tensors.
    """
    _existing(path)
    if path.suffix == ".safetensors":
        try:
            found: Any = load_file(path)
        except SafetensorError as error:
            raise BadInput(f"{path} is not a whole safetensors file: {error}. Was it copied completely?") from error
    else:
        found = _load_torch(path)
    nest = next((key for key in _NESTS if isinstance(found, Mapping) and isinstance(found.get(key), Mapping)), None)
    state = found[nest] if nest else found
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        inside = few(state) if isinstance(state, Mapping) else type(state).__name__
        raise BadInput(f"{path} holds no state dict (names with tensors); it holds: {inside or 'nothing'}.")
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    weights = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    floats = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    dtype = floats.pop() if len(floats) == 1 else None
    suffix = ".safetensors" if path.suffix == ".safetensors" else ".pth"
    return weights, Container(suffix, nest, prefix, dtype if dtype in (torch.float16, torch.bfloat16) else None)


def save_weights(path: Path, weights: Mapping[str, Tensor], container: Container = Container()) -> None:
    """Write a state dict the way its checkpoint came."""
    state = {
        container.prefix + name: tensor.detach()
        .to("cpu", container.dtype if container.dtype and tensor.is_floating_point() else tensor.dtype)
        .contiguous()
        .clone()
        for name, tensor in weights.items()
    }
    with atomic_file(path) as temporary:
        try:
            if container.suffix == ".safetensors":
                save_file(state, temporary, metadata={"format": "pt"})
            else:
                torch.save({container.nest: state} if container.nest else state, temporary)
        except (SafetensorError, RuntimeError) as error:  # how the two libraries say that the disk is full
            raise OSError(f"cannot write {path}: {error}") from error


def _load_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of, it refuses in the next moment
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{path} needs code to be read (a pickle of more than tensors), and Reclaim runs no code from files.\n"
            "  Save the state dict alone: torch.save(model.state_dict(), path), or as .safetensors."
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, zipfile.BadZipFile, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path} is not a whole torch file: {reason}. Was it copied completely?") from error
