"""Mixtures of two models' answers in files."""

from __future__ import annotations

from pathlib import Path

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.files import MIXTURE, calibrator_of, calibrator_record
from reclaim.core.errors import BadInput, within
from reclaim.core.files import write_json
from reclaim.core.records import read_json, typed
from reclaim.repairs.mixtures import OutputMixture

__all__ = ["load_mixture", "save_mixture"]

OLDER = "weight"  # what files of version 0.1 call alpha


def save_mixture(path: Path, mixture: OutputMixture) -> None:
    """Write a mixture of two models' answers: the record of its offset, and alpha."""
    write_json(path, calibrator_record(mixture.offset) | {"method": MIXTURE, "alpha": mixture.alpha})


def load_mixture(path: Path) -> OutputMixture:
    """Read a mixture that `save_mixture` wrote."""
    record = read_json(path)
    if not isinstance(record, dict) or record.get("method") != MIXTURE or not {"alpha", OLDER} & record.keys():
        raise BadInput(f"{path} mixes no answers; `reclaim repair` of two snapshots writes a mixture.json that does.")
    alpha: float = typed(record.pop("alpha", record.pop(OLDER, None)), float, f"{path}, alpha")
    offset = calibrator_of(record | {"method": "logit-offset"}, path, {})
    assert isinstance(offset, LogitOffset)
    with within(path):
        return OutputMixture(alpha, offset)
