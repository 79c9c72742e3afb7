"""--device and --precision, on every command that runs a network."""

import json
from pathlib import Path

import pytest

PREDICT = ("predict", "--model", "after", "--data", "target", "--split", "val", "--out", "out")
MERGE = ("merge", "interpolation", "--before", "before", "--after", "after", "--data", "target", "--out", "out")
REPAIR = ("repair", "--before", "before", "--after", "after", "--data", "target", "--out", "out")
DEMO = ("demo", "--out", "out")
PAPER = ("paper", "digits-left-out", "--smoke", "--out", "out")


@pytest.mark.parametrize("command", [PREDICT, MERGE, REPAIR, DEMO, PAPER], ids=lambda c: c[0])
def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reclaim, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)  # where there are no models and no data
    done = reclaim(*command, "--device", "cuda:7")
    assert (done.code, done.out) == (2, "") and not list(tmp_path.iterdir())
    assert done.err.startswith("reclaim: there is no device 'cuda:7' here; there are: cpu")
    assert done.err.count("\n") == 1
    done = reclaim(*command, "--device", "gpu")
    assert done.code == 2 and "the device is auto, cpu, cuda, cuda:0" in done.err


@pytest.mark.parametrize("command", [PREDICT, MERGE, REPAIR, PAPER], ids=lambda c: c[0])
def test_the_device_is_in_the_record(shop: Path, reclaim, command: tuple[str, ...]) -> None:
    assert reclaim(*command, "--device", "cpu").code == 0
    record = Path("out/run.json") if Path("out").is_dir() else Path("out.run.json")
    assert json.loads(record.read_text())["device"] == "cpu"


def test_half_precision_says_what_it_changes(shop: Path, reclaim) -> None:
    for command, record in ((PREDICT, "out.run.json"), ((*REPAIR[:-1], "repaired"), "repaired/run.json")):
        done = reclaim(*command, "--precision", "bf16")
        assert done.code == 0 and "rows that were also run in float32, logits change by up to" in done.err
        about = json.loads(Path(record).read_text())
        assert about["precision"] == "bf16"
        assert about["precision_change"]["largest_logit"] > 0 <= about["precision_change"]["share_of_answers"] < 0.1
        assert "float32" not in reclaim(*command, "--precision", "bf16", "--force", "--quiet").err
    done = reclaim(*MERGE[:-1], "merged", "--precision", "bf16")
    assert done.code == 2 and "measured in float32: leave out --precision" in done.err
