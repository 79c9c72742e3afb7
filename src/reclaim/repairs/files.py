"""Mixtures of two models' answers in files."""

from __future__ import annotations

from pathlib import Path

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.files import MIXTURE, calibrator_of, calibrator_record
from reclaim.core.errors import BadInput
from reclaim.core.files import read_json, write_json
from reclaim.repairs.mixtures import OutputMixture

__all__ = ["load_mixture", "save_mixture"]

OLDER = "weight"  # what files of version 0.1 call alpha


def save_mixture(path: Path, mixture: OutputMixture) -> None:
    """Write a mixture of two models' answers: the record of its offset, and alpha."""
    write_json(path, calibrator_record(mixture.offset) | {"method": MIXTURE, "alpha": mixture.alpha})


def load_mixture(path: Path) -> OutputMixture:
    """Read a mixture that `save_mixture` wrote."""
    record = read_json(path)
    alpha = record.pop("alpha", record.pop(OLDER, None)) if isinstance(record, dict) else None
    if not isinstance(alpha, int | float) or record.get("method") != MIXTURE:
        raise BadInput(f"{path} mixes no answers; `reclaim repair` of two snapshots writes a mixture.json that does.")
    offset = calibrator_of(record | {"method": "logit-offset"}, path, {})
    assert isinstance(offset, LogitOffset)
    return OutputMixture(alpha, offset)
