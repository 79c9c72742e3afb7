"""``reclaim calibrate METHOD``: every calibrator, from file to file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reclaim.calibration.files import load_calibrator
from reclaim.core.registry import names
from reclaim.models.networks import digits_cnn
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys
from tests.cli.workshop import snapshot_npz

METHODS = [name for name in names("calibrators") if name not in ("chain", "logit-offset")]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """Held-out rows of seen classes, in ``val.safetensors``; the working directory is an empty one."""
    monkeypatch.chdir(tmp_path)
    made = toys.snapshot(n=600, data="toys", split="val").seen_rows()
    save_snapshot(Path("val.safetensors"), made)
    return made


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_fitted_written_applied_and_judged(method: str, rows: Snapshot, reclaim) -> None:
    done = reclaim("calibrate", method, "val.safetensors", "--out", "made.json", "--json")
    assert done.code == 0, done.err
    assert done.json["method"] == method and json.loads(Path("made.json").read_text()) == done.json
    fitted = load_calibrator(Path("made.json"))
    assert fitted.fitted.origin == rows.origin and fitted.fitted.classes == rows.classes
    assert reclaim("apply", "made.json", "val.safetensors", "--out", "out.safetensors").code == 0
    torch.testing.assert_close(load_snapshot(Path("out.safetensors")).logits, fitted(rows.logits))
    judged = reclaim("evaluate", "val.safetensors", "--calibrator", "made.json")
    assert judged.code == 2 and "flattered" in judged.err
    judged = reclaim("evaluate", "val.safetensors", "--calibrator", "made.json", "--same-split", "--json")
    assert judged.json["confidence"]["nll"] == pytest.approx(
        evaluate(load_snapshot(Path("out.safetensors"))).confidence.nll
    )


def test_what_was_fitted_is_said(rows: Snapshot, reclaim) -> None:
    done = reclaim("calibrate", "temperature", "val.safetensors")
    assert done.code == 0 and "temperature 0." in done.out and "which flatter it" in done.out
    done = reclaim("calibrate", "constrained", "val.safetensors")
    assert "seen accuracy falls by at most 0.05 in expectation" in done.out


def test_a_second_one_after_a_first_is_a_chain(rows: Snapshot, reclaim) -> None:
    assert reclaim("calibrate", "logit-offset", "val.safetensors", "--out", "first.json").code == 0
    done = reclaim(
        "calibrate", "temperature", "val.safetensors", "--after", "first.json", "--out", "both.json", "--json"
    )
    assert done.code == 0 and [step["method"] for step in done.json["steps"]] == ["logit-offset", "temperature"]
    both = load_calibrator(Path("both.json"))
    first, second = both.steps
    torch.testing.assert_close(both(rows.logits), (rows.logits + first.affine().shift) / second.temperature)


@pytest.mark.parametrize("method", ["temperature", "bias-corrected-temperature", "vector", "matrix", "constrained"])
def test_an_affine_one_folds_into_a_model(method: str, shop: Path, reclaim) -> None:
    rows = load_snapshot(Path("after-val.safetensors"))
    assert reclaim("calibrate", method, "after-val.safetensors", "--seen-rows", "--out", "made.json").code == 0
    assert reclaim("apply", "made.json", "--model", "after", "--out", "folded").code == 0
    assert reclaim("predict", "--model", "folded", "--data", "target", "--split", "val", "--out", "p").code == 0
    expected = load_calibrator(Path("made.json"))(rows.logits)
    torch.testing.assert_close(load_snapshot(Path("p")).logits, expected, rtol=1e-4, atol=1e-4)
    digits_cnn().load_state_dict(load_file("folded/model.safetensors"))


def test_one_that_is_not_affine_does_not_fold_and_says_so(shop: Path, reclaim) -> None:
    assert reclaim("calibrate", "isotonic", "after-val.safetensors", "--seen-rows", "--out", "made.json").code == 0
    done = reclaim("apply", "made.json", "--model", "after", "--out", "folded")
    assert done.code == 2 and "not affine" in done.err and not Path("folded").exists()


def test_tensors_of_another_fit_are_refused(rows: Snapshot, reclaim) -> None:
    assert reclaim("calibrate", "matrix", "val.safetensors", "--out", "a.json").code == 0
    assert reclaim("calibrate", "matrix", "val.safetensors", "--out", "b.json", "--intercept", "5").code == 0
    own, others = (next(Path().glob(f"{name}-*.tensors.safetensors")) for name in "ab")
    others.rename(own)
    done = reclaim("evaluate", "val.safetensors", "--calibrator", "a.json", "--same-split")
    assert done.code == 2 and "fit the calibrator again" in done.err


# --- bad input


def test_probabilities_are_told_from_logits_and_can_be_given_on_purpose(rows: Snapshot, reclaim) -> None:
    p = rows.logits.double().softmax(dim=1)
    snapshot_npz(Path("p.npz"), rows, logits=p.numpy())
    done = reclaim("calibrate", "temperature", "p.npz")
    assert done.code == 2 and "--from-probabilities" in done.err
    one = reclaim("calibrate", "temperature", "p.npz", "--from-probabilities", "--json").json
    other = reclaim("calibrate", "temperature", "val.safetensors", "--json").json
    assert one["temperature"] == pytest.approx(other["temperature"], rel=1e-5)
    p[3] = torch.eye(7)[2]
    snapshot_npz(Path("p.npz"), rows, logits=p.numpy())
    done = reclaim("calibrate", "temperature", "p.npz", "--from-probabilities")
    assert done.code == 2 and "6 probabilities are zero, the first in row 3, column 0" in done.err
    assert reclaim("calibrate", "temperature", "p.npz", "--from-probabilities", "--floor", "1e-12").code == 0
    p[5] *= 2
    snapshot_npz(Path("p.npz"), rows, logits=p.numpy())
    done = reclaim("calibrate", "temperature", "p.npz", "--from-probabilities")
    assert done.code == 2 and "row 5 holds no probabilities: they sum to 2" in done.err


def test_rows_of_absent_classes_are_left_out_or_counted_in_only_on_purpose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reclaim
) -> None:
    monkeypatch.chdir(tmp_path)
    everything = toys.snapshot(n=600)
    snapshot_npz(Path("all.npz"), everything)
    done = reclaim("calibrate", "vector", "all.npz")
    assert done.code == 2 and "--seen-rows" in done.err and "--all-classes" in done.err
    assert sum(reclaim("calibrate", "vector", "all.npz", "--seen-rows", "--json").json["seen"]) == 4
    assert sum(reclaim("calibrate", "vector", "all.npz", "--all-classes", "--json").json["seen"]) == 7
    done = reclaim("calibrate", "vector", "all.npz", "--all-classes", "--seen-rows")
    assert done.code == 2 and "either" in done.err


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda y: np.arange(len(y)) < 7, "8 numbers (2 for each of 4 seen classes) cannot be fitted to 7 rows"),
        (lambda y: np.arange(len(y)) < 0, "none were given"),
    ],
    ids=["few", "none"],
)
def test_too_few_rows_are_refused(keep, message: str, rows: Snapshot, reclaim) -> None:
    which = keep(rows.labels)
    snapshot_npz(Path("few.npz"), rows.rows(torch.from_numpy(which)))
    done = reclaim("calibrate", "vector", "few.npz", "--out", "made.json")
    assert done.code == 2 and message in " ".join(done.err.split()) and not Path("made.json").exists()


def test_rows_that_look_like_training_rows_are_doubted(rows: Snapshot, reclaim) -> None:
    easy = Snapshot(
        rows.logits + 9 * torch.nn.functional.one_hot(rows.labels, 7), rows.labels, rows.seen, split="train"
    )
    save_snapshot(Path("train.safetensors"), easy)
    save_snapshot(Path("hard.safetensors"), toys.snapshot(n=900, sunk=-1.0))
    done = reclaim("calibrate", "temperature", "train.safetensors", "--held-out", "hard.safetensors", "--json")
    assert done.code == 0 and len(done.json["warnings"]) == 2
    assert "split 'train'" in done.err and "look like training rows: seen accuracy is 1.000" in done.err
    assert (
        "warnings"
        not in reclaim("calibrate", "temperature", "val.safetensors", "--held-out", "val.safetensors", "--json").json
    )
