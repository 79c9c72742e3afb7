"""Mixtures in files."""

import json
from pathlib import Path

import pytest

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.repairs.files import load_mixture, save_mixture
from reclaim.repairs.mixtures import OutputMixture


def test_a_mixture_comes_back_as_it_was(tmp_path: Path) -> None:
    offset = LogitOffset(
        offset=1.5,
        fitted=Fitted((True, False), ("a", "β"), "d:val", {"budget": 0.05}),
        shifts=(0.25, -0.25),
        selector="auto",
        reason="because",
        evidence={"seen": 4},
        guarantee="certain",
    )
    made = OutputMixture(0.4, offset)
    save_mixture(tmp_path / "mixture.json", made)
    assert load_mixture(tmp_path / "mixture.json") == made
    record = json.loads((tmp_path / "mixture.json").read_text())
    assert (record["method"], record["alpha"], record["offset"]) == ("output-mixture", 0.4, 1.5)


def test_a_mixture_of_an_older_version_called_alpha_its_weight(tmp_path: Path) -> None:
    path, made = tmp_path / "mixture.json", OutputMixture(0.4, LogitOffset(1.5, Fitted((True, False))))
    save_mixture(path, made)
    path.write_text(path.read_text().replace('"alpha"', '"weight"'))
    assert '"weight": 0.4' in path.read_text() and load_mixture(path) == made


def test_a_mixture_is_not_taken_for_a_calibrator_nor_a_calibrator_for_a_mixture(tmp_path: Path) -> None:
    path, offset = tmp_path / "one.json", LogitOffset(1.5, Fitted((True, False)))
    save_mixture(path, OutputMixture(0.4, offset))
    with pytest.raises(BadInput, match=r"needs both\.\n  Give `reclaim apply` the fine-tuned .*: before=\."):
        load_calibrator(path)
    save_calibrator(path, offset)
    with pytest.raises(BadInput, match="mixes no answers; `reclaim repair` of two snapshots writes a mix"):
        load_mixture(path)
    fields = {"offset": 1.5, "seen": [True, False]}
    wrong = ({}, {"method": "logit-offset", "alpha": 0.4})
    for record in ([], *(fields | other for other in wrong), fields | {"method": "output-mixture"}):
        path.write_text(json.dumps(record))
        with pytest.raises(BadInput, match="mixes no answers"):
            load_mixture(path)
    path.write_text('{"method": "output-mixture", "alpha": 0.4}')
    with pytest.raises(BadInput, match="is not a complete"):
        load_mixture(path)
