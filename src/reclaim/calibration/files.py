"""Calibrators in files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from reclaim.calibration.protocol import Calibrator, Fitted
from reclaim.core import disk
from reclaim.core.errors import Argument, BadInput, few, within
from reclaim.core.files import atomic_file, existing, together, write_json
from reclaim.core.records import read_json, typed
from reclaim.core.registry import find

__all__ = ["calibrator_of", "calibrator_record", "load_calibrator", "save_calibrator"]

MIXTURE = "output-mixture"  # what a file says that mixes two models' answers, and is no calibrator
_IF_KNOWN = ("model_identity", "row_identities")  # which files of earlier versions lack
_FILE_NAMES = {"origin": "fitted_on"}  # of fields that are called otherwise in files


@dataclass(frozen=True)
class _Beside:
    """The file that holds a calibrator's tensors.

    Attributes:
        file: its name.
        sha256: of its bytes.
    """

    file: str
    sha256: str


@dataclass(frozen=True)
class _Named:
    """What a record says of a tensor.

    Attributes:
        tensor: its name in the file beside.
        shape: as it was written; empty in a record that was written by hand.
    """

    tensor: str
    shape: tuple[int, ...] = ()


def calibrator_record(calibrator: Calibrator) -> dict[str, Any]:
    """A calibrator as JSON can hold it: its method's name and its fields. Of tensors it has the name and the shape."""
    return _record(calibrator, {})


def _record(record: Any, tensors: dict[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """The record; tensors are put into `tensors`, by their names with `prefix`."""
    made: dict[str, Any] = {"method": type(record).__module__.rpartition(".")[2].replace("_", "-")}
    for name, value in vars(record).items():
        if isinstance(value, Fitted):
            known = {key: part for key, part in vars(value).items() if part or key not in _IF_KNOWN}
            made |= {_FILE_NAMES.get(key, key): part for key, part in known.items()}
        elif isinstance(value, Tensor):
            tensors[prefix + name] = value.cpu().contiguous()
            made[name] = {"tensor": prefix + name, "shape": list(value.shape)}
        elif name == "steps":
            made[name] = [_record(step, tensors, f"{prefix}{index}.") for index, step in enumerate(value)]
        else:
            made[name] = value
    return made


def save_calibrator(path: Path, calibrator: Calibrator) -> dict[str, Any]:
    """Write a calibrator as JSON, its tensors beside it as ``NAME-CHECKSUM.tensors.safetensors``.

    Tensors of another calibrator have another name, so what was there before stays whole until the JSON is replaced.

    Returns: what was written.
    """
    tensors: dict[str, Tensor] = {}
    record, old = _record(calibrator, tensors), _tensors_of(path)
    beside = None
    with together(path) as group:
        if tensors:
            content = save(tensors)
            checksum = hashlib.sha256(content).hexdigest()
            beside = path.with_name(f"{path.stem}-{checksum[:8]}.tensors.safetensors")
            record["tensors"] = {"file": beside.name, "sha256": checksum}
            with atomic_file(beside) as temporary:
                disk.write_bytes(temporary, content)
        write_json(path, record)
        if old is not None and old != beside:
            group.obsolete.append(old)
    return record


def _tensors_of(path: Path) -> Path | None:
    """The file with the tensors of the calibrator that is at `path`, if it is surely that and nothing else."""
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        about: _Beside = typed(record.get("tensors") if isinstance(record, dict) else None, _Beside, path)
    except BadInput:
        return None
    beside = path.with_name(about.file)
    own = re.fullmatch(rf"{re.escape(path.stem)}(-[0-9a-f]{{8}})?\.tensors\.safetensors", about.file)
    return beside if own and beside.is_file() and _checksum(beside) == about.sha256 else None


def load_calibrator(path: Path) -> Calibrator:
    """Read a calibrator that `save_calibrator` wrote."""
    record, tensors = read_json(path), {}
    if isinstance(record, dict) and "tensors" in record:
        about: _Beside = typed(record.pop("tensors"), _Beside, f"{path}, tensors")
        beside = existing(path.parent / Path(about.file).name)
        if _checksum(beside) != about.sha256:
            raise BadInput(f"{beside} is not the file that was written with {path}; fit the calibrator again.")
        try:
            tensors = load_file(beside)
        except SafetensorError as error:
            raise BadInput(f"{beside} is not a whole safetensors file: {error}.") from error
    return calibrator_of(record, path, tensors)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def calibrator_of(record: Any, path: Path, tensors: Mapping[str, Tensor]) -> Calibrator:
    """The calibrator that a record with its tensors describes; BadInput names the file."""
    if not isinstance(record, dict) or "method" not in record:
        raise BadInput(f"{path} holds no calibrator: it has no 'method'. `reclaim calibrate` writes one.")
    if record["method"] == MIXTURE:
        raise BadInput(
            f"{path} mixes the answers of two models, and needs both.",
            Argument("before", "give `reclaim apply` the fine-tuned model's, and the pretrained model's"),
        )
    with within(path):
        made = find("calibrators", typed(record["method"], str, f"{path}, method"))
        if unlike := _unlike(made, record):
            raise BadInput(f"{path} is not a complete {record['method']!r} calibrator: {unlike}.")
        values = _fields(made, record, path, tensors)
        if "fitted" in (field.name for field in fields(made)):
            values["fitted"] = Fitted(**_fields(Fitted, record, path, tensors))
        calibrator: Calibrator = made(**values)
    return calibrator


def _unlike(made: Any, record: Mapping[str, Any]) -> str:
    """What of a record does not fit a method's fields; empty if everything does."""
    every = [field for kind in (made, Fitted) for field in fields(kind) if field.name != "fitted"]
    if "fitted" not in (field.name for field in fields(made)):
        every = list(fields(made))
    known = {_FILE_NAMES.get(field.name, field.name): field for field in every}
    needed = [key for key, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    missing = sorted(key for key in needed if key not in record)
    foreign = sorted(record.keys() - known.keys() - {"method"})
    return f"missing: {few(missing) or 'nothing'}; not of it: {few(foreign) or 'nothing'}" if missing or foreign else ""


def _fields(made: Any, record: Mapping[str, Any], path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The values of a dataclass's fields that a record has, each of the type that the dataclass says."""
    kinds = get_type_hints(made)
    values: dict[str, Any] = {}
    for field in fields(made):
        key = _FILE_NAMES.get(field.name, field.name)
        if field.name == "fitted" or key not in record:
            continue
        if field.name == "steps":
            steps = typed(record[key], tuple[dict[str, Any], ...], f"{path}, {key}")
            values[field.name] = tuple(calibrator_of(step, path, tensors) for step in steps)
        elif kinds[field.name] is Tensor:
            values[field.name] = _tensor(record[key], f"{path}, {key}", tensors)
        else:
            values[field.name] = typed(record[key], kinds[field.name], f"{path}, {key}")
    return values


def _tensor(value: Any, what: str, tensors: Mapping[str, Tensor]) -> Tensor:
    named: _Named = typed(value, _Named, what)
    if named.tensor not in tensors:
        raise BadInput(f"{what}: its tensor {named.tensor!r} is lost; fit the calibrator again.")
    tensor = tensors[named.tensor]
    if named.shape and tuple(tensor.shape) != named.shape:
        raise BadInput(f"{what}: the tensor has the shape {list(tensor.shape)}, and should have {list(named.shape)}.")
    return tensor
