"""Workspaces: who writes, what is not finished, and what a kill left."""

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from reclaim.core import disk, workspace
from reclaim.core.errors import BadInput
from reclaim.core.files import atomic_directory, atomic_file, together
from reclaim.core.workspace import reserve, reserved

OLD, NEW = {"old"}, {"new"}


def killed(action: Callable[[], None], before: int) -> bool:
    """Do it in a child that is killed before one of its changes of the disk; whether it came so far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(what: str, path: Path) -> None:
            nonlocal seen
            seen += 1
            if seen > before:
                os.kill(os.getpid(), signal.SIGKILL)

        disk.BEFORE.set(watch)
        action()
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def folder(path: Path, name: str, *, force: bool = True) -> None:
    with atomic_directory(path, force=force) as made:
        (made / name).write_text(name)


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_a_folder_is_there_at_every_moment_of_its_replacement(tmp_path: Path) -> None:
    out, replaced = tmp_path / "out", 0
    for before in range(40):
        folder(out, "old")
        if not killed(lambda: folder(out, "new"), before):
            break
        assert names(out) in (OLD, NEW)
        replaced += names(out) == NEW
    assert before > 5 and 0 < replaced < before


def test_where_names_cannot_be_exchanged_the_next_run_brings_the_old_folder_back(tmp_path: Path, monkeypatch) -> None:
    out, lost = tmp_path / "out", 0
    monkeypatch.setattr(disk, "exchange", lambda first, second: False)
    for before in range(40):
        folder(out, "old")
        if not killed(lambda: folder(out, "new"), before):
            break
        lost += not out.exists()
        with workspace.workspace(out):
            assert names(out) in (OLD, NEW)
        assert names(tmp_path) == {"out"}
    assert lost == 1 and names(out) == NEW


def test_a_file_system_that_cannot_exchange_names_says_so_and_changes_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    assert disk.exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_text() == "b" and (tmp_path / "b").read_text() == "a"
    with pytest.raises(FileNotFoundError):
        disk.exchange(tmp_path / "a", tmp_path / "nowhere")


def pair(path: Path, text: str, *, fail: bool = False) -> None:
    with together(path) as group:
        for part in ("x.part", "x"):
            with atomic_file(path.with_name(part)) as temporary:
                temporary.write_text(text)
        assert group.made(path).read_text() == text
        group.obsolete.append(path.with_name("x.gone"))
        if fail:
            raise OSError(errno.ENOSPC, "no room")


def test_files_of_a_group_get_their_names_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    (tmp_path / "x.gone").touch()
    with pytest.raises(OSError, match="no room"):
        pair(path, "new", fail=True)
    assert names(tmp_path) == {"x.gone"}
    pair(path, "old")
    assert names(tmp_path) == {"x", "x.part"}
    with pytest.raises(OSError, match="no room"):
        pair(path, "new", fail=True)
    assert {file.read_text() for file in tmp_path.iterdir()} == OLD


def test_what_a_kill_left_of_a_group_is_done_by_the_next(tmp_path: Path) -> None:
    path, mixed = tmp_path / "x", 0
    for before in range(60):
        pair(path, "old")
        (tmp_path / "x.gone").touch()
        if not killed(lambda: pair(path, "new"), before):
            break
        mixed += {(tmp_path / part).read_text() for part in ("x", "x.part")} == OLD | NEW
        with workspace.workspace(path):
            text = {(tmp_path / part).read_text() for part in ("x", "x.part")}
            assert text in (OLD, NEW) and (tmp_path / "x.gone").exists() == (text == OLD)
    assert mixed == 1 and before > 10
    assert names(tmp_path) == {"x", "x.part"}


@pytest.mark.parametrize(
    "listed",
    [
        '{"files": [["a", "../y"]], "obsolete": ["../z"]}',
        '{"files": [["a", "other"]], "obsolete": []}',
        "[",
        '{"files": 3}',
    ],
)
def test_a_list_of_names_that_somebody_planted_moves_and_removes_nothing(tmp_path: Path, listed: str) -> None:
    (tmp_path / "in" / ".x.reclaim").mkdir(parents=True)
    for name in ("y", "z"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "in/other").write_text("mine")
    (tmp_path / "in/.x.reclaim/a").write_text("theirs")
    (tmp_path / "in/.x.reclaim/names.json").write_text(listed)
    pair(tmp_path / "in/x", "new")
    assert {(tmp_path / name).read_text() for name in ("y", "z", "in/other")} == {"mine"}


def test_without_locks_a_run_removes_only_its_own(tmp_path: Path, monkeypatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".x.reclaim-other").mkdir()
    (tmp_path / ".x.reclaim-other/half").touch()
    pair(tmp_path / "x", "new")
    assert names(tmp_path) == {"x", "x.part", ".x.reclaim-other"}
    assert names(tmp_path / ".x.reclaim-other") == {"half"}


def test_a_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        with workspace.workspace(tmp_path / "x"):
            if os.fork() == 0:
                signal.alarm(60)
                os.read(reader, 1)  # lives on
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    pair(tmp_path / "x", "new")
    os.write(writer, b".")
    assert names(tmp_path) == {"x", "x.part"}


def test_what_a_command_reserves_it_has_until_its_end(tmp_path: Path) -> None:
    with reserved():
        reserve(tmp_path / "new" / "x")
        assert (tmp_path / "new" / ".x.reclaim" / "lock").exists()
        reserve(tmp_path / "new" / "x")
        child = os.fork()
        if child == 0:
            try:
                reserve(tmp_path / "new" / "x")
            except BadInput:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not names(tmp_path)


def test_a_name_of_any_length_has_a_workspace(tmp_path: Path) -> None:
    folder(tmp_path / ("x" * 255), "new")
    assert names(tmp_path) == {"x" * 255}


def test_new_files_and_folders_have_the_mode_of_any_program(tmp_path: Path) -> None:
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            with atomic_file(tmp_path / "file") as temporary:
                temporary.write_text("x")
            folder(tmp_path / "folder", "x")
        finally:
            os.umask(before)
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
        assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask
