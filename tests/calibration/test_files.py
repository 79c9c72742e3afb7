"""Calibrators in files."""

import json
from pathlib import Path

import pytest

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.files import calibrator_record, load_calibrator, save_calibrator
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput


def test_a_file_that_holds_no_calibrator_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("[]")
    with pytest.raises(BadInput, match="no 'method'"):
        load_calibrator(path)
    path.write_text('{"method": "logit-offset"}')
    with pytest.raises(BadInput, match="not a complete 'logit-offset' calibrator"):
        load_calibrator(path)
    path.write_text('{"method": "astrology"}')
    with pytest.raises(BadInput, match="no calibrator called 'astrology'"):
        load_calibrator(path)


def test_a_calibrator_file_is_the_record_that_commands_print(tmp_path: Path) -> None:
    made = LogitOffset(1.5, Fitted((True, False), ("a", "b")), (), "auto", "because", {"seen": 4}, None)
    save_calibrator(tmp_path / "c.json", made)
    record = json.loads((tmp_path / "c.json").read_text())
    assert record == json.loads(json.dumps(calibrator_record(made)))
    assert record["method"] == "logit-offset" and record["guarantee"] is None
