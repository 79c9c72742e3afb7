"""From words to calls: what is missing, nearly right or called otherwise elsewhere; places; and standard output."""

import json
import os
import sys
from pathlib import Path

import pytest

from reclaim.cli.main import COMMANDS, main
from reclaim.cli.naming import OTHERS, named
from reclaim.core.files import write_json

TUNE = ("tune", "fine-tune", "--model", "before", "--data", "target", "--out", "out")
VAL = ("before-val.safetensors", "after-val.safetensors")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune", "fine-tune", "--model", "m", "--out", "o"), "missing: --data."),
        (("tune", "fine-tune"), "missing: --model, --data, --out."),
        (("predict", "--model", "m"), "missing: --data, --split, --out."),
        (("evaluate",), "missing: SNAPSHOT."),
        (("tune", "fine-tune", "--model"), "--model needs a value."),
        ((*TUNE, "--learning-rat", "1"), "there is no flag --learning-rat; did you mean --learning-rate?"),
        (("tune", "fine-tune", "--model", "m", "--dta", "d", "--out", "o"), "no flag --dta; did you mean --data?"),
        ((*TUNE[:2], "--modle", *TUNE[3:], "--mode", "x"), "no flag --modle; did you mean --model?"),
        (("evaluate", "x", "--zzz"), "there is no flag --zzz; there are: --snapshot, --calibrator,"),
        (("evalute", "x"), "no command 'evalute'; there are: apply, calibrate,"),
        (("evalute", "x"), "Did you mean 'evaluate'?"),
        (("tune", "fine-tun"), "Did you mean 'fine-tune'?"),
        ((*TUNE, "--optimizer", "adam"), "--optimizer is one of sgd, adamw; given: adam. Did you mean 'adamw'?"),
        (("evaluate", "x", "y", "z"), "too many words: "),
        (("evaluate", ""), "an argument is empty"),
        (("evaluate", "x", "--calibrator", ""), "--calibrator is empty"),
        (("evaluate", "x", "--calibrator="), "--calibrator is empty"),
        (("evaluate", "a\0b"), "holds a NUL"),
        (("evaluate", os.fsdecode(b"a\xff")), "bytes that are not UTF-8: a\\xff"),
    ],
)
def test_a_wrong_call_says_what_to_write(reclaim, words: tuple[str, ...], message: str) -> None:
    done = reclaim(*words)
    assert done.code == 2 and not done.out
    assert done.err.startswith("reclaim: ") and message in done.err and done.err.count("reclaim: ") == 1


def test_names_that_other_programs_use_are_taken_for_ours(shop: Path, reclaim) -> None:
    words = ("tune", "fine-tune", "-m", "before", "--dataset", "target", "--output=out", "--lr", "0.5", "--bs", "50")
    done = reclaim(*words, "--wd", "0", "-e", "1", "--num-workers", "0", "--json", "-q")
    assert done.code == 0, done.err
    record = json.loads(Path("out/run.json").read_text())["budget"]
    assert (record["learning_rate"], record["batch_size"], record["weight_decay"], record["epochs"]) == (0.5, 50, 0, 1)


def test_no_name_stands_for_two_flags() -> None:
    others = [other for many in OTHERS.values() for other in many]
    assert len(set(others)) == len(others) and not set(others) & {named(name) for name in OTHERS}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TUNE[:-1], ".", "--force"), "is or holds the folder that the command runs in"),
        ((*TUNE[:-1], "..", "--force"), "is or holds the folder that the command runs in"),
        ((*TUNE[:-1], "target/train", "--force"), "target/train lies inside"),
        ((*TUNE[:-1], "before", "--force"), "before is what the command reads"),
        ((*TUNE[:-1], "before/new"), "before/new lies inside"),
        ((*TUNE[:-1], "file.txt", "--force"), "file.txt is no folder, and a folder is to be written"),
        (("calibrate", "temperature", VAL[0], "--out", "folder", "--force"), "folder is a folder, and a file is"),
        (("calibrate", "temperature", VAL[0], "--out", VAL[0], "--force"), "is what the command reads"),
        (("report", *VAL, "--out", "file.txt/page.html"), "file.txt"),
        (("report", *VAL, "--out", "x" * 300), "File name too long"),
        (("apply", "c.json", "--model", "before", "--out", "before", "--force"), "is what the command reads"),
    ],
)
def test_a_wrong_place_is_refused_before_the_work(shop: Path, reclaim, words: tuple[str, ...], message: str) -> None:
    Path("folder").mkdir()
    Path("file.txt").write_text("mine")
    write_json(Path("c.json"), {})
    before = {path.name for path in Path().iterdir()}
    done = reclaim(*words)
    assert done.code == 2 and message in done.err and done.err.count("reclaim: ") == 1 and not done.out
    assert {path.name for path in Path().iterdir()} == before and Path("file.txt").read_text() == "mine"


def test_names_are_printed_as_they_are_and_never_obeyed(shop: Path, reclaim) -> None:
    for name in ("a[red]b", "[/b]", "\x1b[31mred", "u\u202ex"):
        folder = Path(name)
        folder.mkdir(parents=True)
        done = reclaim("report", *VAL, "--out", folder / "page.html", "--quiet")
        shown = name.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
        assert done.code == 0 and f"the page: {shown}/page.html" in done.out, done
        missing = reclaim("evaluate", folder / "nothing.npz")
        assert missing.code == 2 and f"{shown}/nothing.npz" in missing.err
        assert not {"\x1b", "\u202e"} & set(done.out + missing.err)


JSON = {
    "apply": ("apply", "offset.json", VAL[1], "--out", "o.safetensors"),
    "calibrate": ("calibrate", "logit-offset", VAL[1]),
    "classify": ("classify", "target/val", "--model", "before", "--out", "answers.csv"),
    "demo": ("demo", "--seeds", "1", "--out", "demo"),
    "diagnose": ("diagnose", *VAL),
    "evaluate": ("evaluate", VAL[1]),
    "export": ("export", "--to", "onnx", "--calibrator", "offset.json", "--out", "o.onnx"),
    "list": ("list",),
    "merge": ("merge", "interpolation", "--before", "before", "--after", "after", "--out", "merged"),
    "paper": ("paper", "digits-left-out", "--smoke", "--out", "table"),
    "predict": ("predict", "--model", "before", "--data", "target", "--split", "val", "--out", "p.safetensors"),
    "repair": ("repair", "--before", VAL[0], "--after", VAL[1], "--out", "repaired"),
    "report": ("report", *VAL, "--out", "page.html"),
    "tune": ("tune", "fine-tune", "--model", "before", "--data", "target", "--epochs", "1", "--out", "tuned"),
}


def test_every_command_is_here() -> None:
    assert sorted(JSON) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_standard_output_is_one_object_whatever_libraries_print(shop: Path, reclaim, monkeypatch, command: str) -> None:
    import reclaim.cli.flags as shared

    assert reclaim("calibrate", "logit-offset", VAL[1], "--out", "offset.json").code == 0
    run = shared.Output.run_record

    def noisy(self: shared.Output, **numbers: object) -> object:
        sys.stdout.write("Downloading: something\n")
        sys.stdout.write("noise\n")
        return run(self, **numbers)

    monkeypatch.setattr(shared.Output, "run_record", noisy)
    done = reclaim(*JSON[command], "--json")
    assert done.code == 0, done.err
    assert isinstance(done.json, dict) and done.out.count("\n") == 1
    assert ("Downloading" in done.err) == ("--out" in JSON[command])


def test_standard_output_is_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    own = sys.stdout
    with pytest.raises(SystemExit):
        main(["evaluate", "nowhere"])
    assert sys.stdout is own
