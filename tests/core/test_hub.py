"""A hub is looked for once, in a short time, and the message says how files on this machine are named."""

import socket
import time
from threading import Event
from typing import Any

import pytest

from reclaim.core import hub
from reclaim.core.errors import BadInput

HERE = "a folder of yours"


def test_offline_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket, "create_connection", None)
    with pytest.raises(BadInput, match=r"a/b is not on this machine, and HF_HUB_OFFLINE.*\n.*a folder of yours"):
        hub.check_reachable("https://hub.invalid", "a/b", HERE)


def test_a_server_that_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(key, raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match=r"127\.0\.0\.1 cannot be reached: .*refused.*\n.*a folder of yours"):
            hub.check_reachable(address, "a/b", HERE)
        taken.listen()
        hub.check_reachable(address, "a/b", HERE)


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(key, raising=False)

    answered = Event()

    def slow(*_: Any, **__: Any) -> socket.socket:
        answered.wait(5)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", slow)
    monkeypatch.setattr(hub, "LOOK", 0.2)
    start = time.monotonic()
    with pytest.raises(BadInput, match=r"no answer in 0\.2 seconds"):
        hub.check_reachable("https://hub.invalid", "a/b", HERE)
    assert time.monotonic() - start < 2
    answered.set()


def test_a_look_takes_five_seconds_at_most() -> None:
    assert hub.LOOK == 5
