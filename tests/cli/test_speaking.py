"""Who speaks, how loudly, and when: several processes, --quiet, --debug, and what data held."""

import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import reclaim as package
from reclaim.cli import main as program
from reclaim.cli.flags import OPENED, STARTED, STDOUT, Output, Reading, open_data
from reclaim.core import progress
from reclaim.core.errors import BadInput
from reclaim.data.report import LeftOut, Report
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys

log = logging.getLogger("reclaim.somewhere")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a function as a command of some words, in a process of some number; its exit code, and what was said."""

    def call(work: Callable[[], object], *words: str, rank: str = "") -> tuple[int, str, str]:
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setattr(program, "call_of", lambda app, tokens: work)
        capsys.readouterr()
        try:
            program.main(["list", *words])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            progress.silence(False)
        return (code, *capsys.readouterr())

    return call


def speaking() -> None:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(level, "level %d", level)


@pytest.mark.parametrize(
    ("words", "rank", "levels"),
    [((), "", (20, 30, 40)), (("--quiet",), "", (30, 40)), ((), "1", (40,)), (("--quiet",), "1", (40,))],
)
def test_the_first_process_speaks_and_others_say_what_is_wrong(called, words, rank: str, levels) -> None:
    code, out, err = called(speaking, *words, rank=rank)
    assert (code, out) == (0, "") and err.splitlines() == [f"reclaim: level {level}" for level in levels]
    log.error("the program is over")  # and has left nothing behind in the library's log
    assert not any(type(handler).__name__ == "Spoken" for handler in logging.getLogger("reclaim").handlers)


@pytest.mark.parametrize(("words", "rank", "silent"), [((), "", False), (("--quiet",), "", True), ((), "2", True)])
def test_one_process_shows_its_progress(called, monkeypatch, words, rank: str, silent: bool) -> None:
    found: list[bool] = []
    called(lambda: found.append(progress._quiet), *words, rank=rank)
    assert found == [silent]


def test_warnings_of_libraries_are_shown_to_who_looks_for_a_fault(called) -> None:
    found: dict[str, bool] = {}

    def look(name: str) -> Callable[[], object]:
        return lambda: found.setdefault(name, ("ignore", None, Warning, None, 0) in warnings.filters)

    with warnings.catch_warnings():
        warnings.resetwarnings()
        called(look("debug"), "--debug")
        called(look("plain"))
    assert found == {"debug": False, "plain": True}


def raising(error: BaseException) -> Callable[[], object]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BadInput("wrong."), 2, "wrong."), (FileNotFoundError(2, "No such file", "x.png"), 2, "No such file: x.png"),
        (OSError(28, "No space left on device"), 2, "No space left on device"), (OSError("odd"), 2, "odd"),
        (KeyboardInterrupt(), 130, "stopped."),
    ],
)  # fmt: skip
def test_an_end_is_one_message_with_its_code(called, error: BaseException, code: int, said: str) -> None:
    assert called(raising(error)) == (code, "", f"reclaim: {said}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "3")
        assert called(raising(error), rank="1") == (code, "", f"reclaim, process 2 of 3: {said}\n")


def test_mistakes_of_ours_and_errors_with_debug_are_raised(called) -> None:
    for error, words in ((ZeroDivisionError("ours"), ()), (BadInput("wrong."), ("--debug",))):
        with pytest.raises(type(error), match=str(error)):
            called(raising(error), *words)


def test_an_error_of_a_library_that_was_stopped_is_that_stop(called) -> None:
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise RuntimeError("a library's own words") from error

    assert called(work) == (143, "", "reclaim: stopped.\n")


def test_a_reader_that_has_seen_enough_is_no_error(called, monkeypatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert called(raising(BrokenPipeError()))[0] == 0
        os.write(file.fileno(), b"into nothing")
    assert (tmp_path / "out").read_text() == ""


def test_a_command_of_one_process_is_refused_under_a_launcher(monkeypatch, reclaim) -> None:
    assert reclaim("list", "recipes").code == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = reclaim("list", "recipes")
    assert done.code == 2 and done.err == (
        "reclaim: `reclaim list` runs in one process, and a launcher started 2; these share their work: calibrate, "
        "evaluate, predict, tune.\n  Start it without the launcher.\n"
    )
    assert reclaim("list", "--help").code == 0  # a page of help is no work


@pytest.mark.parametrize(("command", "shared"), [("evaluate", True), ("calibrate", True), ("list", False)])
def test_commands_on_snapshots_share_the_whole_of_their_work(monkeypatch, command: str, shared: bool) -> None:
    us: list[str] = []

    class Shared:
        def __enter__(self) -> None:
            us.append("shared")

        def __exit__(self, *_: object) -> None:
            us.append("done")

    monkeypatch.setattr(program, "at_work", Shared)
    with program._shared([command, "evaluate"]):
        pass
    assert us == (["shared", "done"] if shared else [])


# --- Output


def shown_as_table() -> None:
    sys.stdout.write("a table\n")


def test_what_was_asked_for_goes_to_standard_output_in_one_form(monkeypatch) -> None:
    page = io.StringIO()
    STDOUT.set(page)
    try:
        for output, shown in ((Output(), "a table\n"), (Output(json=True), '{"a": 1}\n')):
            page.seek(0)
            page.truncate()
            output.show({"a": 1}, shown_as_table)
            assert page.getvalue() == shown
        monkeypatch.setenv("RANK", "1")
        page.seek(0)
        page.truncate()
        Output().show({"a": 1}, shown_as_table)
        assert page.getvalue() == ""
    finally:
        STDOUT.set(sys.stdout)


COUNTED = {"train": {"ant": 2, "bee": 1}}
FOLDERS = Report(COUNTED, folders={"train": "train"})
FILES = Report(COUNTED, files={"train": ["a.csv"]})
NEITHER = Report(COUNTED)
HIDDEN = replace(FOLDERS, left_out=(LeftOut.of("hidden", ["x"]),))
ODD = replace(FOLDERS, left_out=(LeftOut.of("with the suffix .heic", ["x"]),))
GUESSED = replace(NEITHER, notes=("a guess",))


@pytest.mark.parametrize(
    ("report", "at_once", "at_the_end"),
    [
        (None, {}, {}),
        (FOLDERS, {}, {"plain"}),
        (FILES, {}, {"plain"}),
        (NEITHER, {}, {}),
        (HIDDEN, {"plain", "json"}, {}),
        (ODD, {"plain", "json", "quiet"}, {}),
        (GUESSED, {"plain", "json", "quiet"}, {}),
    ],
    ids=["none", "folders", "files", "neither", "hidden", "odd", "guessed"],
)
def test_what_data_held_is_said_when_it_is_due(monkeypatch, capsys, report: Report | None, at_once, at_the_end) -> None:
    data = replace(toys.data(), report=report, source="d")
    monkeypatch.setattr(import_module("reclaim.data.load"), "open_source", lambda *_, **__: data)
    STARTED.set(0.0)
    outputs = {"plain": Output(), "json": Output(json=True), "quiet": Output(quiet=True)}
    line = "" if report is None else f"reclaim: {report.line('d')}\n"
    for name, output in outputs.items():
        OPENED.set(())
        capsys.readouterr()
        open_data("d", None, output=output)
        assert capsys.readouterr().err == (line if name in at_once else "")
        output.show({}, lambda: None)
        assert capsys.readouterr().err == (line if name in at_the_end else "")
        (about,) = output.run_record()["data"]
        assert about == {"source": "d", **({} if report is None else report.record()), "noticed": {}}
        monkeypatch.setenv("RANK", "1")
        open_data("d", None, output=output)
        output.show({}, lambda: None)
        assert not capsys.readouterr().err
        monkeypatch.delenv("RANK")
    OPENED.set(())


def test_examples_that_cannot_be_read_are_listed_and_counted(monkeypatch, capsys) -> None:
    whole, less = toys.data(), replace(toys.data(), source="less")
    load: Any = import_module("reclaim.data.load")
    monkeypatch.setattr(load, "open_source", lambda *_, **__: whole)
    monkeypatch.setattr(load, "without_unreadable", lambda data: (less, ["x.png", "y.png"]))
    OPENED.set(())
    assert open_data("d", None) is OPENED.get()[0] and not capsys.readouterr().err
    assert open_data("d", None, reading=Reading(skip_bad=True)) is less and OPENED.get()[1] is less
    assert capsys.readouterr().err == "left out: x.png\nleft out: y.png\n2 unreadable examples left out\n"
    OPENED.set(())


# --- several processes


@pytest.mark.parametrize("method", ["temperature", "logit-offset"])
def test_of_several_processes_the_first_one_writes_and_warns(shop: Path, reclaim, monkeypatch, method: str) -> None:
    save_snapshot(Path("trained"), replace(load_snapshot(Path("after-val.safetensors")).seen_rows(), split="train"))
    call = ("calibrate", method, "trained", "--out", "t.json")
    monkeypatch.setenv("RANK", "1")
    done = reclaim(*call)
    assert (done.code, done.out, done.err) == (0, "", "") and not list(Path().glob("t.json*"))
    monkeypatch.delenv("RANK")
    done = reclaim(*call)
    assert done.code == 0 and done.out and Path("t.json").is_file() and Path("t.json.run.json").is_file()
    assert ("split 'train'" in done.err) == (method == "temperature")


# --- help


def help_in(width: int) -> str:
    """A page of help on a terminal of some width, which a process looks at once."""
    command = [sys.executable, "-m", "reclaim", "evaluate", "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": f"{width}"}
    )
    return done.stdout


def test_help_flows_in_the_width_there_is() -> None:
    pages = {width: help_in(width) for width in (80, 400)}
    said = [" ".join(page.translate(dict.fromkeys(map(ord, "│╭╮╰╯─"), " ")).split()) for page in pages.values()]
    assert said[0] == said[1]
    for width, page in pages.items():
        assert width - 4 < max(map(len, page.splitlines())) <= width
    first, second, panel = pages[400].split("\n\n")[1:4]
    # in their docstrings the last two are of several lines
    assert first == "Accuracy per group of classes, the trade-off and confidence of a snapshot, with 95 % intervals."
    assert second.startswith("With --json") and second.endswith("reliability diagram.") and "\n" not in second
    (seen,) = (line for line in panel.splitlines() if "--seen" in line)
    assert "the classes that the fine-tuning had" in seen and "or those of the training split." in seen


def test_the_program_says_its_name_what_it_is_for_and_its_version(reclaim) -> None:
    page = " ".join(reclaim("--help").out.split())
    assert (
        page.startswith("Usage: reclaim COMMAND") and "Fine-tune without losing what your model knew: diagnose" in page
    )
    assert "Flags have the field's other names too: --lr, --bs," in page
    assert reclaim("--version").out == f"{package.__version__}\n"
    assert "--no-json" not in reclaim("evaluate", "--help").out
