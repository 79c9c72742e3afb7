"""SIGTERM and SIGHUP end a command as Ctrl-C does: one message, nothing left, the exit code of the signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reclaim.core.stopping import Stopped, stopping

TUNE = ("tune", "fine-tune", "--model", "before", "--data", "target", "--epochs", "100000", "--out", "out", "--quiet")


def started(*words: str, until: str) -> subprocess.Popen[str]:
    """A command in a process of its own, once a file that matches is there; no signal is ignored, as under nohup."""
    command = [sys.executable, "-m", "reclaim", *words]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    deadline = time.monotonic() + 120
    while not list(Path().glob(until)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    return process


def _said(process: subprocess.Popen[str]) -> str:
    """What it says by its end, which comes within a minute."""
    try:
        return process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_a_signal_ends_a_command_in_one_message(shop: Path, number: signal.Signals, code: int) -> None:
    before = {path.name for path in Path().iterdir()}
    with started(*TUNE, until="out.partial/state/fit-1/step-*") as process:
        process.send_signal(number)
        said = _said(process)
    assert process.returncode == code and said == "reclaim: stopped.\n"
    assert {path.name for path in Path().iterdir()} - before == {"out.partial"}  # from which it goes on


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to it", "to all of them"])
def test_a_signal_while_other_processes_decode_ends_all_of_them(shop: Path, send: Callable[[int, int], None]) -> None:
    with started(*TUNE, "--workers", "2", until="out.partial/state/fit-1/step-*") as process:
        send(process.pid, signal.SIGTERM)
        said = _said(process)  # which waits for everyone who holds the pipe
    assert process.returncode == 143 and said == "reclaim: stopped.\n"
    assert not Path(".out.reclaim").exists()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping():
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(Stopped) as stopped:
                signal.raise_signal(signal.SIGTERM)
            assert stopped.value.code == 143
            signal.raise_signal(signal.SIGTERM)  # cleaning up goes on in peace
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
