"""Calibrators in files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

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


SEEN = {"seen": [True, True, False], "classes": ["a", "b", "c"], "fitted_on": "d:val"}
LOGITS = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
# as version 0.1 wrote them, and what they make of LOGITS; the tensors of a matrix are in a file beside its own
WRITTEN: list[tuple[dict[str, Any], Tensor]] = [
    ({"method": "temperature", "temperature": 2.0, **SEEN, "details": {"nll": 0.5, "note": ""}}, LOGITS / 2),
    (
        {
            "method": "logit-offset",
            "offset": 1.5,
            **SEEN,
            "shifts": [0.25, -0.25, 0.0],
            "selector": "bolder",
            "reason": "because",
            "evidence": {"seen": 4, "before": 4},
            "guarantee": None,
            "details": {"gap_matching": 1.5, "pseudo_absent": 1.0},
        },
        LOGITS + torch.tensor([0.25, -0.25, 1.5]),
    ),
    (
        {"method": "vector", "weights": [2.0, 0.5], "biases": [1.0, -1.0], "rest": [3.0, 0.5], **SEEN, "details": {}},
        LOGITS * torch.tensor([2.0, 0.5, 3.0]) + torch.tensor([1.0, -1.0, 0.5]),
    ),
    (
        {
            "method": "chain",
            "steps": [
                {"method": "temperature", "temperature": 0.5, **SEEN, "details": {}},
                {
                    "method": "matrix",
                    "weights": {"tensor": "1.weights", "shape": [2, 2]},
                    "biases": [1.0, -1.0],
                    "rest": [1.0, 0.0],
                    **SEEN,
                    "details": {"share": 1.0},
                },
            ],
        },
        torch.tensor([[-3.0, 1.0, 6.0], [9.0, 0.0, -2.0]]),
    ),
]


@pytest.mark.parametrize(("record", "expected"), WRITTEN, ids=[record["method"] for record, _ in WRITTEN])
def test_a_file_of_an_earlier_version_is_read_and_written_as_it_was(
    tmp_path: Path, record: dict[str, Any], expected: Tensor
) -> None:
    path, beside = tmp_path / "c.json", tmp_path / "c.tensors.safetensors"
    if record["method"] == "chain":
        save_file({"1.weights": torch.tensor([[0.0, 1.0], [1.0, 0.0]])}, beside)
        checksum = hashlib.sha256(beside.read_bytes()).hexdigest()
        record = record | {"tensors": {"file": beside.name, "sha256": checksum}}
    path.write_text(json.dumps(record))
    loaded = load_calibrator(path)
    torch.testing.assert_close(loaded(LOGITS), expected)
    assert loaded.fitted.classes == ("a", "b", "c") and loaded.fitted.origin == "d:val"
    save_calibrator(path, loaded)
    written = json.loads(path.read_text())
    if "tensors" in record:  # they are called otherwise since
        assert written["tensors"].pop("file") == f"c-{record['tensors']['sha256'][:8]}.tensors.safetensors"
        del record["tensors"]["file"]
    assert written == record


def test_a_file_without_names_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"method": "logit-offset", "offset": 2.0, "seen": [true, false]}')
    assert load_calibrator(path) == LogitOffset(2.0, Fitted((True, False)))
