"""Of an error that came through a user's file its line is told, and nothing of one that did not."""

import importlib.util
import json
from pathlib import Path

import torch

from reclaim.core.blame import blamed

MINE = """
import json, torch

def deep():
    return json.loads("{")

def here():
    raise ValueError("the width is odd\\nand more")

def silent():
    raise KeyError
"""


def error_of(path: Path, name: str) -> Exception:
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        getattr(module, name)()
    except Exception as error:
        return error
    raise AssertionError


def test_the_innermost_line_of_the_users_file_is_told_with_the_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    assert blamed(error_of(path, "here")) == (
        f'ValueError: the width is odd\n  {path}, line 8: raise ValueError("the width is odd\\nand more")'
    )
    deep = blamed(error_of(path, "deep"))  # which arose in Python's own files
    assert deep.startswith("JSONDecodeError: ") and deep.endswith(f'{path}, line 5: return json.loads("{{")')
    assert blamed(error_of(path, "silent")) == f"KeyError\n  {path}, line 11: raise KeyError"


def test_a_file_that_is_no_python_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def net()\n    return 1\n")
    try:
        error_of(path, "net")
    except SyntaxError as error:
        assert blamed(error) == f"SyntaxError: expected ':'\n  {path}, line 1: def net()"


def test_of_errors_of_libraries_nothing_is_told() -> None:
    for work in (lambda: json.loads("{"), lambda: torch.zeros(2) @ torch.zeros(3)):
        try:
            work()
        except Exception as error:
            error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None  # this file is a user's
            error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
            assert blamed(error) == ""
