"""Calibrators in files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from reclaim.calibration.protocol import Calibrator, Fitted
from reclaim.core.errors import Argument, BadInput, few
from reclaim.core.files import atomic_file, existing, read_json, write_json
from reclaim.core.registry import find

__all__ = ["calibrator_of", "calibrator_record", "load_calibrator", "save_calibrator"]

MIXTURE = "output-mixture"  # what a file says that mixes two models' answers, and is no calibrator
_IF_KNOWN = ("model_identity", "row_identities")  # which files of earlier versions lack
_FILE_NAMES = {"origin": "fitted_on"}  # of fields that are called otherwise in files


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
    made = find("calibrators", str(record["method"]))
    values = {key: _value(value, path, tensors) for key, value in record.items() if key != "method"}
    try:
        if any(field.name == "fitted" for field in fields(made)):
            names = {field.name: _FILE_NAMES.get(field.name, field.name) for field in fields(Fitted)}
            own = {name: values.pop(key) for name, key in names.items() if key in values}
            values["fitted"] = Fitted(**own)
        calibrator: Calibrator = made(**values)
    except TypeError as error:
        raise BadInput(f"{path} is not a complete {record['method']!r} calibrator: {_unlike(made, record)}.") from error
    return calibrator


def _unlike(made: Any, record: Mapping[str, Any]) -> str:
    """What of a record does not fit a method's fields."""
    own = {field.name for field in fields(made)} - {"fitted"}
    fit = {_FILE_NAMES.get(field.name, field.name) for field in fields(Fitted)}
    missing = [name for name in (*sorted(own), "seen") if name not in record]
    foreign = sorted(record.keys() - own - fit - {"method"})
    return f"missing: {few(missing) or 'nothing'}; not of it: {few(foreign) or 'nothing'}"


def _value(value: Any, path: Path, tensors: Mapping[str, Tensor]) -> Any:
    """A field's value: lists are tuples, records of calibrators are these, and names of tensors are those."""
    if isinstance(value, list):
        return tuple(_value(part, path, tensors) for part in value)
    if isinstance(value, dict) and "method" in value:
        return calibrator_of(value, path, tensors)
    if isinstance(value, dict) and "tensor" in value:
        if value["tensor"] not in tensors:
            raise BadInput(f"{path} has lost its tensor {value['tensor']!r}; fit the calibrator again.")
        return tensors[value["tensor"]]
    return value
