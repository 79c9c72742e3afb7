"""The disk is changed by one file, so that tests can stop before each change."""

import ast
from pathlib import Path

import pytest

import reclaim

ROOT = Path(reclaim.__file__).parent
CHANGES = {"unlink", "rmdir", "mkdir", "rmtree", "mkdtemp", "mkstemp", "rename", "symlink_to", "touch", "makedirs"}
MAY = {"core/disk.py", "core/workspace.py"}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if str(path.relative_to(ROOT)) not in MAY]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_changes_names(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not {call.attr for call in calls if isinstance(call, ast.Attribute)} & CHANGES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_makes_a_console_or_writes_to_standard_error(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert str(path.relative_to(ROOT)) == "core/terminal.py" or ("Console(" not in text and "stderr.write" not in text)
