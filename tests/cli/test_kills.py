"""A kill before any change of the disk leaves the old output whole or the new one; the next run leaves nothing else.

Every command that writes is killed before changes spread over its run; with RECLAIM_BATTERY set, before every one.
"""

import os
import shutil
from pathlib import Path

import pytest
from cyclopts import App

from reclaim.cli.main import COMMANDS, app
from reclaim.core.workspace import workspace
from tests.cli import kills

VAL = ("after-val.safetensors",)
PAIR = ("--before", "before-val.safetensors", "--after", "after-val.safetensors")
PREDICT = ("predict", "--data", "target", "--split", "test", "--model")
TUNE = ("tune", "fine-tune", "--model", "before", "--data", "target", "--batch-size", "50")

# by what is written: what another run wrote before, and the command that replaces it
WRITING = {
    "predict s.safetensors": ((*PREDICT, "before"), (*PREDICT, "after")),
    "classify answers.csv": (
        ("classify", "target/val", "--model", "before"),
        ("classify", "target/val", "--model", "after"),
    ),
    "calibrate c.json": (
        ("calibrate", "temperature", "--seen-rows", "before-val.safetensors"),
        ("calibrate", "temperature", "--seen-rows", *VAL),
    ),
    "calibrate offset.json": (
        ("calibrate", "logit-offset", "before-val.safetensors"),
        ("calibrate", "logit-offset", *VAL),
    ),
    "apply applied.safetensors": (
        ("apply", "given.json", "before-val.safetensors"),
        ("apply", "given.json", *VAL),
    ),
    "apply model": (("apply", "given.json", "--model", "before"), ("apply", "given.json", "--model", "after")),
    "merge model": (
        ("merge", "interpolation", "--before", "before", "--after", "after", "--alpha", "0.2"),
        ("merge", "interpolation", "--before", "before", "--after", "after", "--alpha", "0.7"),
    ),
    "repair repaired": (("repair", *PAIR, "--mix", "0.2"), ("repair", *PAIR, "--mix", "1")),
    "tune tuned": ((*TUNE, "--epochs", "1"), (*TUNE, "--epochs", "2")),
    "report page.html": (
        ("report", "before-val.safetensors", "before-val.safetensors"),
        ("report", "before-val.safetensors", *VAL),
    ),
}
ELSEWHERE = {"demo", "export", "paper"}  # they write as these do, and take longer


def flags(command: App) -> set[str]:
    """The flags of a command, or of the first one of a family."""
    if command.default_command is None:
        command = command[next(name for name in command.resolved_commands() if not name.startswith("-"))]
    return {flag.name for flag in command.assemble_argument_collection()}


def test_every_command_that_writes_is_here() -> None:
    writing = {name for name in COMMANDS if "--out" in flags(app[name])}
    assert {key.split()[0] for key in WRITING} | ELSEWHERE == writing


def spread(count: int) -> list[int]:
    """The changes to be killed before."""
    if "RECLAIM_BATTERY" in os.environ:
        return list(range(count))
    return sorted({*range(0, count, max(1, count // 4)), count - 1})


@pytest.mark.parametrize("place", WRITING)
def test_a_kill_leaves_the_old_output_or_the_new_and_the_next_run_nothing_else(shop: Path, place: str) -> None:
    out, first, second = begun(place)
    assert kills.run(*first) == 0
    old, saved = kills.content(out), keep(out)
    count = len(kills.changes(*second, "--force"))
    new, beside = kills.content(out), names()
    assert count > 3 and new != old
    for before in spread(count):
        bring_back(saved, out)
        assert kills.killed(*second, "--force", before=before)
        left = kills.content(out)
        assert left in (old, new), f"killed before change {before}: {left}"
        assert kills.run(*second, "--force") == 0, f"killed before change {before}"
        assert kills.content(out) == new and names() == beside, f"killed before change {before}"


@pytest.mark.parametrize("place", ["predict s.safetensors", "apply model", "tune tuned"])
def test_a_kill_leaves_no_output_or_a_whole_one_where_there_was_none(shop: Path, place: str) -> None:
    out, _, words = begun(place)
    count = len(kills.changes(*words))
    new, beside = kills.content(out), names()
    for before in spread(count):
        clean(out)
        assert kills.killed(*words, before=before)
        left = kills.content(out)
        assert left in ({}, new), f"killed before change {before}: {left}"
        assert kills.run(*words) in ((0, 2) if left else (0,)), f"killed before change {before}"
        assert not [name for name in names() - beside if name.startswith(".")], f"killed before change {before}"
        assert kills.content(out) == new


@pytest.mark.parametrize("place", ["predict s.safetensors", "calibrate c.json", "apply model", "tune tuned"])
def test_a_full_disk_is_one_message_and_keeps_the_old_output(shop: Path, place: str) -> None:
    out, first, second = begun(place)
    assert kills.run(*first) == 0
    old, beside = kills.content(out), names()
    count = len(kills.changes(*second, "--force"))
    new = kills.content(out)
    clean(out)
    assert kills.run(*first) == 0
    for before in spread(count)[:-2]:
        code = kills.full(*second, "--force", before=before, stderr=shop / "said")
        said = Path("said").read_text()
        if code == 0:  # only cleaning up was left
            continue
        assert code == 2 and said.count("reclaim: No space left on device") == 1 and "Traceback" not in said, said
        kept = (old, new) if place.startswith("predict") else (old,)  # its record alone comes after its output
        assert kills.content(out) in kept, f"no room from change {before} on"
        assert not [name for name in names() - beside if name.startswith(".")]


def test_an_output_is_written_by_one_command_at_a_time(shop: Path, reclaim) -> None:
    for out in ("one.safetensors", "elsewhere/one.safetensors"):
        with workspace(Path(out)):
            Path(out).parent.joinpath(f".{Path(out).name}.reclaim/begun").touch()
            words = (*PREDICT, "before", "--out", out)
            assert kills.run(*words, stderr=shop / "said") == 2
            assert "another command is writing" in Path("said").read_text() and not Path(out).exists()
            assert Path(out).parent.joinpath(f".{Path(out).name}.reclaim/begun").exists()
        assert not Path("elsewhere").exists()
        assert reclaim(*words).code == 0 and Path(out).exists()
        shutil.rmtree("elsewhere", ignore_errors=True)


def test_a_finished_run_that_was_killed_while_it_tidied_up_is_finished_by_the_same_command(shop: Path, reclaim) -> None:
    words = (*TUNE, "--epochs", "1", "--out", "tuned", "--quiet")
    watched: list[str] = kills.changes(*words)
    last = len(watched) - 1 - watched[::-1].index("rename tuned")
    weights = kills.content(Path("tuned"))
    clean(Path("tuned"))
    assert kills.killed(*words, before=last) and not Path("tuned").exists()
    assert not Path("tuned.partial/state").exists() and Path("tuned.partial/run.json").is_file()
    done = reclaim(*words)
    assert done.code == 0 and kills.content(Path("tuned")) == weights
    other = (*TUNE, "--epochs", "2", "--out", "tuned", "--quiet")
    clean(Path("tuned"))
    assert kills.killed(*words, before=last)
    refused = reclaim(*other)
    assert refused.code == 2 and "epochs was 1, is 2" in refused.err


def test_a_run_that_is_refused_for_its_numbers_leaves_nothing(shop: Path, reclaim) -> None:
    before = names()
    assert reclaim(*TUNE, "--lr", "1e30", "--out", "tuned").code == 2
    assert names() == before
    assert reclaim(*TUNE, "--lr", "1e-3", "--epochs", "1", "--out", "tuned").code == 0


def test_a_folder_of_somebody_else_is_never_taken_for_an_unfinished_run(shop: Path, reclaim) -> None:
    Path("tuned.partial").mkdir()
    Path("tuned.partial/thesis.txt").touch()
    for force in ((), ("--force",)):
        done = reclaim(*TUNE, "--out", "tuned", *force)
        assert done.code == 2 and "tuned.partial is in the way" in done.err
    assert Path("tuned.partial/thesis.txt").exists()


def begun(place: str) -> tuple[Path, tuple[str, ...], tuple[str, ...]]:
    """The output of a case, the command that wrote an old one, and the one that replaces it."""
    out = place.split()[1]
    first, second = ((*words, "--out", out, "--quiet") for words in WRITING[place])
    if "given.json" in first:
        assert kills.run("calibrate", "logit-offset", *VAL, "--out", "given.json") == 0
    return Path(out), first, second


def keep(out: Path) -> Path:
    """A copy of an output and of the files that go with it."""
    saved = Path("saved")
    saved.mkdir()
    for path in files(out):
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, saved / path.name)
    return saved


def bring_back(saved: Path, out: Path) -> None:
    """Put the copy where the output was."""
    clean(out)
    for path in saved.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, path.name)


def names() -> set[str]:
    """What lies in the working folder."""
    return {path.name for path in Path().iterdir()} - {"said", "saved"}


def files(out: Path) -> set[Path]:
    """An output and the files that go with it."""
    return {path for path in (out, *Path().glob(f"{out.stem}[.-]*")) if path.exists()}


def clean(out: Path) -> None:
    """Take the output away."""
    for path in files(out):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
