"""Bad input: exit code 2, one clear message, and nothing lost."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reclaim.models.checkpoint import Container, load_weights, save_weights
from reclaim.snapshots.reading import load_snapshot
from tests.cli.workshop import CLASSES, FACTORY, snapshot_npz

REPAIR = ("repair", "--before", "before", "--after", "after", "--data", "target", "--out", "out")


@pytest.fixture
def refused(reclaim):
    """Run a command that must be refused with a message."""

    def run(message: str, *arguments: object) -> None:
        done = reclaim(*arguments)
        assert done.code == 2, done
        assert done.err.startswith("reclaim: ") and message in done.err, done.err
        assert "Traceback" not in done.err + done.out and not done.out
        assert not Path("out").exists()

    return run


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": lambda y: y + 9}, "is out of range: the logits have 10 columns"),
        ({"labels": lambda y: y - 1}, "label -1 in row 0 is out of range"),
        ({"labels": lambda y: y.astype(float)}, "labels must be whole numbers"),
        ({"logits": lambda z: np.where(np.arange(len(z))[:, None] == 70, np.nan, z)}, "logits hold nan in row 70"),
        ({"logits": lambda z: np.where(np.arange(len(z))[:, None] == 7, np.inf, z)}, "logits hold inf in row 7"),
        ({"seen": lambda s: s[:4]}, "`seen` has 4 entries but the logits have 10 columns"),
        ({"seen": lambda s: np.ones(10, bool)}, "no class is absent"),
        ({"seen": lambda s: np.zeros(10, bool)}, "no class is marked as seen"),
        ({"seen": lambda s: np.array([17])}, "indices from 0 to 9"),
        ({"classes": lambda _: np.array(list("abcdefghia"))}, "given more than once: a"),
    ],
    ids=["above", "below", "float", "nan", "infinite", "short", "no-absent", "no-seen", "index", "twice"],
)
def test_arrays_that_do_not_fit(shop: Path, refused, changed, message: str) -> None:
    rows = load_snapshot(Path("after-val.safetensors"))
    arrays = {"logits": rows.logits.numpy(), "labels": rows.labels.numpy(), "seen": rows.seen.numpy(), "classes": None}
    path = snapshot_npz(Path("rows.npz"), rows, **{name: change(arrays[name]) for name, change in changed.items()})
    refused(message, "calibrate", "logit-offset", path, "--out", "out")


def test_a_class_name_that_appears_twice_or_in_one_model_only(shop: Path, refused) -> None:
    Path("twice.txt").write_text("\n".join([*CLASSES[:9], "eight"]))
    refused("given more than once: eight", *REPAIR, "--classes", "twice.txt")
    Path("few.txt").write_text("one\ntwo")
    refused("2 class names were given for 10 classes", *REPAIR, "--classes", "few.txt")
    shutil.copytree(Path("after").resolve(), "after2")
    Path("after2/reclaim.json").write_text(Path("after2/reclaim.json").read_text().replace('"five"', '"vijf"'))
    for name in {*CLASSES} - {"five"}:
        for split in ("val", "test"):
            Path("own", split).mkdir(parents=True, exist_ok=True)
            Path("own", split, name).symlink_to(Path("target", split, name).resolve())
    mixed = ("repair", "--before", "before", "--after", "after2", "--data", "own", "--out", "out")
    refused("no model knows them: vijf.\n  Only `before` has: five.", *mixed)


def test_class_folders_that_do_not_match_the_model(shop: Path, refused) -> None:
    Path("other/test").mkdir(parents=True)
    for name, folder in (("one", "one"), ("two", "deux")):
        Path("other/test", folder).symlink_to(Path("target/test", name).resolve())
    predict = ("predict", "--model", "before", "--data", "other", "--split", "test", "--out", "out")
    refused("1 of the 2 classes of the data are not among the model's: deux", *predict)


def test_an_unreadable_image_is_named_or_skipped_counted_and_listed(shop: Path, refused, reclaim) -> None:
    shutil.copytree(Path("target").resolve(), "broken")
    bad = sorted(Path("broken/test/two").iterdir())[1]
    bad.write_bytes(bad.read_bytes()[:50])
    predict = ("predict", "--model", "before", "--data", "broken", "--split", "test", "--out", "out")
    refused(f"{bad} cannot be read as an image", *predict)
    done = reclaim(*predict, "--skip-bad")
    assert done.code == 0 and f"left out: {bad}" in done.err and "1 unreadable examples left out" in done.err
    assert len(load_snapshot(Path("out"))) == 124


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_checkpoint(shop: Path, refused, suffix: str) -> None:
    weights, _ = load_weights(Path("after/model.safetensors"))
    save_weights(Path(f"w{suffix}"), weights, Container(suffix))
    Path(f"w{suffix}").write_bytes(Path(f"w{suffix}").read_bytes()[:2000])
    refused("is not a whole", *REPAIR[:3], "--after", f"plain/{FACTORY}@w{suffix}", *REPAIR[5:])


def test_a_pickled_checkpoint_is_not_run(shop: Path, refused) -> None:
    torch.save(torch.nn.Linear(2, 2), "whole_model.pth")
    refused("Reclaim runs no code from files", *REPAIR[:3], "--after", f"plain/{FACTORY}@whole_model.pth", *REPAIR[5:])


def test_a_state_dict_that_does_not_fit(shop: Path, refused) -> None:
    save_weights(Path("w.safetensors"), {"fc.weight": torch.zeros(10, 9)})
    wrong = ("repair", "--before", "before", "--after", f"plain/{FACTORY}@w.safetensors", *REPAIR[5:])
    refused("missing: 0.weight, 0.bias, 2.weight, … (8 in all)\n  unexpected: fc.weight", *wrong)


def test_an_output_that_exists(shop: Path, reclaim) -> None:
    Path("out").mkdir()
    Path("out/precious").touch()
    tune = ("tune", "fine-tune", "--model", "before", "--data", "target", "--out", "out")
    merge = ("merge", "interpolation", "--before", "before", "--after", "after", "--out", "out")
    for command in (REPAIR, tune, merge, ("demo", "--out", "out")):
        done = reclaim(*command)
        assert done.code == 2 and "out exists already" in done.err and "--force" in done.err
    predict = ("predict", "--model", "before", "--data", "target", "--split", "val")
    calibrate = ("calibrate", "logit-offset", "after-val.safetensors")
    report = ("report", "before-val.safetensors", "after-val.safetensors")
    for command in (predict, calibrate, report):
        assert reclaim(*command, "--out", "out/precious").code == 2
    assert [p.name for p in Path("out").iterdir()] == ["precious"] and Path("out/precious").read_bytes() == b""
    assert reclaim(*REPAIR, "--mix", 1, "--force").code == 0
    assert not Path("out/precious").exists() and Path("out/model.safetensors").exists()


def test_a_full_disk_keeps_the_old_output(shop: Path) -> None:
    Path("out").mkdir()
    Path("out/precious").touch()

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-m", "reclaim", *REPAIR, "--mix", "1", "--force"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 2 and done.stderr.startswith("reclaim: ") and "Traceback" not in done.stderr
    assert [p.name for p in Path("out").iterdir()] == ["precious"]
    assert not [p for p in Path().iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seen", "one,zebra"), "seen classes that the data do not have: zebra"),
        (("--seen", ",".join(CLASSES)), "no class is absent"),
        (("--mix", "1.5"), "between 0 and 1; given: 1.5"),
        (("--budget", "2"), "between 0 and 1; given: 2"),
        (("--select", "magic"), "no selector called 'magic'"),
        (("--mean", "0.5", "0.5", "0.5"), "mean and standard deviation go together.\n  Give both: --mean, --std."),
        (("--image-size", "0"), "--image-size must be a whole number between 1 and 65535; given: 0."),
        (("--classes", "nowhere.txt"), "there is no file nowhere.txt"),
        (("--workers", "-1"), "--workers must be a whole number between 0 and 1000; given: -1."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_flags_that_make_no_sense(shop: Path, refused, arguments: tuple[str, ...], message: str) -> None:
    refused(message, *REPAIR, *arguments)


def test_nobody_says_which_classes_were_seen(shop: Path, refused) -> None:
    Path("plain").mkdir()
    for name in CLASSES:
        Path("plain", name).symlink_to(Path("target/test", name).resolve())
    common = ("repair", "--before", f"plain/{FACTORY}@before/model.safetensors", "--data", "plain", "--out", "out")
    refused("which classes did the fine-tuning have?", *common, "--after", f"plain/{FACTORY}@after/model.safetensors")


def test_too_few_rows_for_a_certificate_say_how_many_are_needed(shop: Path, refused) -> None:
    refused("99999 are needed", *REPAIR, "--mix", "1", "--select", "retention-budget", "--budget", "0.00001")


def test_apply_wants_exactly_one_thing(shop: Path, refused, reclaim) -> None:
    assert reclaim("calibrate", "logit-offset", "after-val.safetensors", "--out", "c.json").code == 0
    refused("either a SNAPSHOT or --model MODEL", "apply", "c.json", "--out", "out")
    refused(
        "either a SNAPSHOT or --model MODEL",
        "apply",
        "c.json",
        "after-val.safetensors",
        "--model",
        "after",
        "--out",
        "out",
    )


def test_debug_shows_where_it_happened(shop: Path) -> None:
    command = [sys.executable, "-m", "reclaim", "evaluate", "nowhere.npz"]
    quiet = subprocess.run(command, capture_output=True, text=True)
    loud = subprocess.run([*command, "--debug"], capture_output=True, text=True)
    assert quiet.returncode == 2 and quiet.stderr == "reclaim: there is no file nowhere.npz.\n"
    assert "Traceback" in loud.stderr


def test_a_record_belongs_to_a_whole_name_and_is_not_replaced_without_being_asked(shop: Path, reclaim) -> None:
    fit = ("calibrate", "temperature", "after-val.safetensors", "--seen-rows", "--out")
    Path("x.run.json").write_text("another's")
    assert reclaim(*fit, "x.json").code == 0
    assert reclaim("apply", "x.json", "after-val.safetensors", "--out", "x.safetensors").code == 0
    assert all(json.loads(Path(f"x.{kind}.run.json").read_text())["versions"] for kind in ("json", "safetensors"))
    assert Path("x.run.json").read_text() == "another's"
    for name, command in (
        ("y.json", fit),
        ("o.json", ("calibrate", "logit-offset", "after-val.safetensors", "--out")),
        ("y.safetensors", ("apply", "x.json", "after-val.safetensors", "--out")),
        ("y.html", ("report", "before-val.safetensors", "after-val.safetensors", "--out")),
        ("p.safetensors", ("predict", "--model", "after", "--data", "target", "--split", "val", "--out")),
    ):
        record = Path(f"{name}.run.json")
        record.write_text("mine")
        done = reclaim(*command, name)
        assert done.code == 2 and f"{record} exists already" in done.err and not Path(name).exists(), done
        assert record.read_text() == "mine"
        assert reclaim(*command, name, "--force").code == 0 and record.read_text() != "mine"
