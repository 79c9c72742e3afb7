"""The commands, end to end on a small pair of models."""

import importlib
import inspect
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.files import load_calibrator
from reclaim.cli.main import COMMANDS
from reclaim.core.registry import names
from reclaim.models.directory import load_model
from reclaim.models.networks import digits_cnn
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.reading import load_snapshot
from reclaim.training.budget import Budget
from reclaim.training.resume import RunState
from tests.cli.workshop import CLASSES, FACTORY, SEEN, snapshot_npz


def network(path: Path) -> torch.nn.Module:
    """The network of the workshop with the weights of a file, by plain torch."""
    module = digits_cnn()
    module.load_state_dict(load_file(path))
    return module.eval()


# --- repair


def test_repair_writes_a_model_that_beats_both_and_needs_no_reclaim(shop: Path, reclaim) -> None:
    done = reclaim("repair", "--before", "before", "--after", "after", "--data", "target", "--out", "out", "--json")
    assert done.code == 0, done.err
    record = done.json
    assert sorted(p.name for p in Path("out").iterdir()) == [
        "calibrator.json", "model.safetensors", "reclaim.json", "report.html", "run.json"
    ]  # fmt: skip
    accuracy = {name: record[name]["accuracy"]["all"] for name in ("before", "after", "repaired")}
    assert accuracy["repaired"] > max(accuracy["before"], accuracy["after"])
    assert json.loads(Path("out/run.json").read_text()) == record
    assert record["command"].startswith("reclaim") and record["versions"]["torch"] and record["seed"] == 0
    assert {"offset", "selector", "reason", "evidence", "guarantee", "mix", "findings"} <= set(record)

    assert reclaim("predict", "--model", "out", "--data", "target", "--split", "test", "--out", "r").code == 0
    rows, test = load_snapshot(Path("r")), load_snapshot(Path("after-test.safetensors"))
    assert evaluate(rows).accuracy.all == pytest.approx(accuracy["repaired"])
    assert torch.equal(rows.labels, test.labels)
    from PIL import Image

    files = [p for name in CLASSES for p in sorted(Path("target/test", name).iterdir())]
    x = torch.stack([torch.from_numpy(np.array(Image.open(p)))[None] / 255 for p in files])
    torch.testing.assert_close(network(Path("out/model.safetensors"))(x), rows.logits, atol=1e-5, rtol=1e-5)


def test_repair_says_in_words_what_it_did(shop: Path, reclaim) -> None:
    done = reclaim("repair", "--before", "before", "--after", "after", "--data", "target", "--out", "out")
    words = " ".join(done.out.split())
    for word in ("before", "after", "repaired", "Mixing:", "Offset:", "Guarantee:", "ceiling", "out"):
        assert word in words


def test_repair_keeps_the_format_the_model_came_in(shop: Path, reclaim) -> None:
    weights = load_file("after/model.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}, "epoch": 9}, "after.pth")
    Path("classes.txt").write_text("\n".join(CLASSES))
    common = ("repair", "--before", f"plain/{FACTORY}@before", "--data", "target", "--mix", 0.5, "--json")
    named = reclaim(*common, "--after", f"plain/{FACTORY}@after.pth", "--out", "out")
    assert named.code == 0, named.err
    found = torch.load("out/model.pth", weights_only=True)
    assert list(found) == ["state_dict"] and set(found["state_dict"]) == {f"module.{k}" for k in weights}
    assert reclaim(*common, "--after", "after", "--out", "same").json["repaired"] == named.json["repaired"]


def test_repair_takes_flags_of_the_selector_and_no_others(shop: Path, reclaim) -> None:
    pair = ("--before", "before", "--after", "after", "--data", "target")
    common = ("repair", *pair, "--mix", 1, "--class-balance", 0, "--json")
    small = reclaim(*common, "--budget", 0.02, "--out", "a").json
    large = reclaim(*common, "--budget", 0.3, "--out", "b").json
    assert small["offset"] < large["offset"] and small["guarantee"].startswith("seen accuracy falls by at most 0.02")
    wrong = reclaim(*common, "--select", "average-logit-gap", "--budget", 0.1, "--out", "c")
    assert wrong.code == 2 and "'average-logit-gap' does not take --budget; its flags: none" in wrong.err


def test_repair_reads_unlabelled_data_without_their_labels(shop: Path, reclaim) -> None:
    folder = Path("stream/anything")
    folder.mkdir(parents=True)
    for i, file in enumerate(sorted(Path("target/test").rglob("*.png"))):
        (folder / f"{i}.png").symlink_to(file.resolve())
    done = reclaim("repair", "--before", "before", "--after", "after", "--data", "target", "--out", "out", "--json",
                   "--select", "rate-matching", "--unlabelled", "stream")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["evidence"] == {"unlabelled": 125} and done.json["details"]["rate"] == pytest.approx(0.5)


def test_repair_with_data_of_seen_classes_only_says_what_cannot_be_measured(shop: Path, reclaim) -> None:
    Path("own/val").mkdir(parents=True)
    for name in SEEN:
        Path("own/val", name).symlink_to(Path("target/val", name).resolve())
    done = reclaim("repair", "--before", "before", "--after", "after", "--data", "own", "--out", "out", "--json")
    assert done.code == 0, done.err
    record = done.json
    assert record["repaired"]["accuracy"]["absent"] is None and record["offset"] > 0
    assert "the absent accuracy cannot be measured" in Path("out/report.html").read_text()


# --- tune, predict


@pytest.mark.parametrize("recipe", names("recipes"))
def test_tune_writes_a_model_directory_that_other_commands_take(shop: Path, reclaim, recipe: str) -> None:
    done = reclaim("tune", recipe, "--model", "before", "--data", "target", "--out", "tuned", "--epochs", 2,
                   "--learning-rate", 0.02, "--batch-size", 16, "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert sorted(p.name for p in Path("tuned").iterdir()) == ["model.safetensors", "reclaim.json", "run.json"]
    assert json.loads(Path("tuned/reclaim.json").read_text())["seen"] == list(SEEN)
    assert json.loads(Path("tuned/run.json").read_text())["budget"]["epochs"] == 2
    assert not Path("tuned.partial").exists()
    assert reclaim("predict", "--model", "tuned", "--data", "target", "--split", "val", "--out", "rows").code == 0
    rows = load_snapshot(Path("rows"))
    assert {name for name, seen in zip(rows.classes, rows.seen.tolist(), strict=True) if seen} == set(SEEN)


def test_every_field_of_the_budget_is_a_flag_of_tune_and_in_its_record(shop: Path, reclaim) -> None:
    done = reclaim("tune", "fine-tune", "--model", "before", "--data", "target", "--out", "tuned", "--steps", 3,
                   "--batch-size", 16, "--absent-rows", "train", "--learning-rate", 0.02)  # fmt: skip
    assert done.code == 0, done.err
    budget = Budget(steps=3, batch_size=16, absent_rows="train", learning_rate=0.02)
    assert json.loads(Path("tuned/run.json").read_text())["budget"] == asdict(budget)
    moved = load_model("tuned").last_layer.weight != load_model("before").last_layer.weight
    assert bool(moved.any(dim=1).all())


def test_tune_goes_on_after_a_kill_and_ends_with_the_same_weights(shop: Path, reclaim, monkeypatch) -> None:
    common = ("tune", "fine-tune", "--model", "before", "--data", "target", "--epochs", 3, "--batch-size", 16)
    assert reclaim(*common, "--out", "whole").code == 0
    log = RunState.log

    def kill(self, one, *, whole: bool) -> None:
        log(self, one, whole=whole)
        if one.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunState, "log", kill)
    assert reclaim(*common, "--out", "again").code == 130
    assert Path("again.partial").is_dir() and not Path("again").exists()
    other = reclaim("tune", "frozen-head", "--model", "before", "--data", "target", "--out", "again")
    assert other.code == 2 and "recipe was 'fine-tune', is 'frozen-head'" in other.err
    monkeypatch.setattr(RunState, "log", log)
    done = reclaim(*common, "--out", "again")
    assert done.code == 0 and "the run goes on where it was stopped, at epoch 3 of 3, batch 1 of " in done.err
    assert Path("again/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    whole, again = (json.loads(Path(name, "run.json").read_text())["epochs"] for name in ("whole", "again"))
    assert [one | {"seconds": 0} for one in again] == [one | {"seconds": 0} for one in whole]


@pytest.mark.parametrize("recipe", ["frozen-head", "linear-probe"])
def test_tune_says_a_line_per_epoch_and_keeps_the_best(shop: Path, reclaim, recipe: str) -> None:
    """A linear probe has no epochs."""
    words = ("tune", recipe, "--model", "before", "--data", "target", "--epochs", 2, "--lr", 0.02, "--keep", "best")
    done, quiet = reclaim(*words, "--out", "tuned"), reclaim(*words, "--out", "other", "--quiet")
    assert done.code == quiet.code == 0 and "epoch" not in quiet.err
    record = json.loads(Path("tuned/run.json").read_text())
    said = re.findall(r"reclaim: epoch (\d) of 2: loss [\d.]+, seen accuracy ([\d.]+) on (\d+) held-out rows", done.err)
    assert [(int(n), float(accuracy)) for n, accuracy, _ in said] == [
        (one["epoch"], round(one["seen_accuracy"], 3)) for one in record["epochs"]
    ]
    assert len(said) == (0 if recipe == "linear-probe" else 2)
    best = max(record["epochs"], key=lambda one: one["seen_accuracy"], default=None)
    assert record.get("kept_epoch") == (best and best["epoch"])


FACTORIES = """
from torch import nn
def failing():
    raise KeyError("width")
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
    def forward(self, x):
        return self.head(self.norm(x.flatten(1)))
"""


def test_an_error_in_a_users_factory_or_network_is_one_message_with_the_line(shop: Path, reclaim) -> None:
    Path("their_models.py").write_text(FACTORIES)
    Path("their_typo.py").write_text("def net()\n    pass\n")
    place = str((Path.cwd() / "their_models.py").resolve())
    for name, said in [
        (
            "their_models:failing",
            f"the factory 'their_models:failing' fails: KeyError: 'width'\n  {place}, line 4: raise",
        ),
        ("their_models:Net", f"has no attribute 'norm'\n  {place}, line 10: return self.head(self.norm("),
        ("their_typo:net", "cannot be imported: SyntaxError: expected ':'\n"),
    ]:
        done = reclaim("tune", "fine-tune", "--model", f"plain/{name}", "--data", "target", "--out", "tuned")
        assert done.code == 2 and said in done.err and "Traceback" not in done.err and not Path("tuned").exists()


def test_predict_takes_all_columns_of_the_model_when_asked(shop: Path, reclaim) -> None:
    common = ("predict", "--model", "before", "--data", "target", "--split", "train")
    assert reclaim(*common, "--out", "all", "--columns", "model", "--no-features", "--half").code == 0
    rows = load_snapshot(Path("all"))
    assert rows.classes == CLASSES and rows.features is None and rows.logits.dtype == torch.float16
    assert json.loads(Path("all.run.json").read_text())["rows"] == len(rows)


# --- evaluate, calibrate, apply


def test_evaluate_prints_the_keys_that_scripts_rely_on(shop: Path, reclaim) -> None:
    record = reclaim("evaluate", "after-test.safetensors", "--json").json
    assert record["n"] == 125
    assert set(record["accuracy"]) == {"all", "seen", "absent", "seen_among_seen", "absent_among_absent", "harmonic"}
    assert set(record["tradeoff"]) == {"area", "best_offset", "best_all"}
    assert set(record["confidence"]) == {"nll", "brier", "ece"}
    words = reclaim("evaluate", "after-test.safetensors").out
    assert f"{100 * record['accuracy']['seen']:.1f}" in words and "ceiling on these rows" in words


def test_calibrate_evaluate_and_apply_agree(shop: Path, reclaim) -> None:
    done = reclaim("calibrate", "logit-offset", "after-val.safetensors", "--select", "gap-matching", "--before",
                   "before-val.safetensors", "--out", "c.json", "--json")  # fmt: skip
    assert done.code == 0, done.err
    record = done.json
    assert {"method", "offset", "selector", "reason", "evidence", "guarantee"} <= set(record)
    assert (record["method"], record["selector"], record["guarantee"]) == ("logit-offset", "gap-matching", None)
    assert record == json.loads(Path("c.json").read_text())
    judged = reclaim("evaluate", "after-test.safetensors", "--calibrator", "c.json", "--json").json
    assert reclaim("apply", "c.json", "after-test.safetensors", "--out", "lifted").code == 0
    assert reclaim("evaluate", "lifted", "--json").json == judged
    assert reclaim("apply", "c.json", "--model", "after", "--out", "folded").code == 0
    assert reclaim("predict", "--model", "folded", "--data", "target", "--split", "test", "--out", "rows").code == 0
    folded = reclaim("evaluate", "rows", "--json").json
    assert folded["accuracy"] == judged["accuracy"]
    assert (
        judged["accuracy"]["absent"]
        > reclaim("evaluate", "after-test.safetensors", "--json").json["accuracy"]["absent"]
    )


@pytest.mark.parametrize("select", names("selectors"))
def test_every_selector_runs_from_the_command_line(shop: Path, reclaim, select: str) -> None:
    more = {
        "larger-of-two": ("--before", "before-val.safetensors"),
        "gap-matching": ("--before", "before-val.safetensors"),
        "pseudo-absent": ("--before", "before-val.safetensors"),
        "rate-matching": ("--unlabelled", "after-test.safetensors"),
        "margin-mixture": ("--unlabelled", "after-test.safetensors"),
        "source-data": ("--source", "after-test.safetensors"),
    }.get(select, ())
    done = reclaim("calibrate", "logit-offset", "after-val.safetensors", "--select", select, *more, "--json")
    assert done.code == 0, done.err
    assert done.json["selector"] == select and isinstance(done.json["offset"], float)


def test_arrays_from_elsewhere_are_calibrated_too(shop: Path, reclaim) -> None:
    rows = load_snapshot(Path("after-val.safetensors"))
    path = snapshot_npz(Path("rows.npz"), rows)
    indices = snapshot_npz(Path("indices.npz"), rows, seen=rows.seen.nonzero().squeeze(1).numpy())
    expected = LogitOffset.fit(rows.logits, rows.labels, rows.seen).offset
    for file in (path, indices):
        found = reclaim("calibrate", "logit-offset", file, "--select", "average-logit-gap", "--json").json
        assert found["offset"] == pytest.approx(expected)


def test_a_calibrator_is_not_judged_on_the_rows_that_fitted_it(shop: Path, reclaim) -> None:
    assert reclaim("calibrate", "logit-offset", "after-val.safetensors", "--out", "c.json").code == 0
    done = reclaim("evaluate", "after-val.safetensors", "--calibrator", "c.json")
    assert done.code == 2 and "would be flattered" in done.err
    assert reclaim("evaluate", "after-val.safetensors", "--calibrator", "c.json", "--same-split").code == 0
    assert isinstance(load_calibrator(Path("c.json")), LogitOffset)


# --- merge, diagnose, report, demo


def test_merge_interpolates_and_its_ends_are_the_models(shop: Path, reclaim) -> None:
    common = ("merge", "interpolation", "--before", "before", "--after", "after")
    for flag, alpha, name in (("--alpha", 0.0, "before"), ("--weight", 1.0, "after")):  # the flag, and its former name
        assert reclaim(*common, flag, alpha, "--out", f"end-{name}").code == 0
        end, model = load_file(f"end-{name}/model.safetensors"), load_file(f"{name}/model.safetensors")
        assert all(torch.equal(end[key], model[key]) for key in model)
    assert reclaim(*common, "--out", "half").code == 0
    half, ends = load_file("half/model.safetensors"), [load_file(f"{n}/model.safetensors") for n in ("before", "after")]
    torch.testing.assert_close(half["8.weight"], (ends[0]["8.weight"] + ends[1]["8.weight"]) / 2)


def test_diagnose_answers_every_question(shop: Path, reclaim) -> None:
    models = ("--before-model", "before", "--after-model", "after")
    done = reclaim("diagnose", "before-test.safetensors", "after-test.safetensors", *models, "--json")
    findings = done.json["findings"]
    assert len(findings) == len(names("diagnoses"))
    assert all({"question", "value", "damaged", "verdict", "evidence"} == set(f) for f in findings)
    assert next(f for f in findings if "outvoted" in f["question"])["damaged"]
    assert all(f["value"] is not None for f in findings)
    words = reclaim("diagnose", "before-test.safetensors", "after-test.safetensors").out
    assert "damaged" in words and "the weights of both models are needed" in " ".join(words.split())


def test_report_shows_before_after_and_the_calibrated_model(shop: Path, reclaim) -> None:
    assert reclaim("calibrate", "logit-offset", "after-val.safetensors", "--out", "c.json").code == 0
    done = reclaim(
        "report", "before-test.safetensors", "after-test.safetensors", "--calibrator", "c.json", "--out", "p.html"
    )
    assert done.code == 0, done.err
    page = Path("p.html").read_text()
    assert all(f'class="line line-{name}"' in page for name in ("before", "after", "repaired"))


def test_the_demo_repairs_what_it_broke(tmp_path: Path, reclaim) -> None:
    done = reclaim("demo", "--out", tmp_path / "demo", "--seeds", 2, "--json", "--quiet")
    assert done.code == 0, done.err
    record = done.json
    for seed in record["seeds"]:
        assert seed["repaired"]["all"] > max(seed["before"]["all"], seed["after"]["all"])
        assert seed["repaired"]["absent"] > seed["after"]["absent"] + 0.05
    assert [seed["seed"] for seed in record["seeds"]] == [0, 1]
    assert record["seeds"][0]["repaired"] == record["repaired"]["accuracy"]
    folder = tmp_path / "demo"
    again = ("--after", folder / "after", "--data", "digits-shifted", "--out", tmp_path / "again", "--json")
    found = reclaim("repair", "--before", folder / "before", *again)
    assert found.json["repaired"] == record["repaired"]
    words = reclaim("demo", "--out", folder, "--force").out
    assert "seed 0" in words and "repaired" in words


def test_nothing_is_replaced_unless_that_is_asked_for() -> None:
    """Every command that writes has --force, and none by default."""
    forced = {}
    for name in COMMANDS:
        flags = inspect.signature(importlib.import_module(f"reclaim.cli.commands.{name}").command).parameters
        if "out" in flags:
            forced[name] = flags["force"].default
    assert set(forced) >= {"apply", "export", "paper", "predict", "repair", "report"}
    assert not any(forced.values())
