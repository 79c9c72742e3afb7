"""Errors name arguments; the shell names flags."""

import ast
import pickle
import re
from pathlib import Path

import pytest

import reclaim
from reclaim.cli.naming import called, flag_of
from reclaim.core.errors import Argument, BadInput

ROOT = Path(reclaim.__file__).parent
SIZES = BadInput("the sizes differ.", Argument("image_size", "bring images to one size"))
SEVERAL = BadInput("bad.", Argument("mean", "say"), Argument("std"), Argument("kind", "take", "shared"))
EXISTS = BadInput("x exists.", Argument("force", "replace it", True))


def test_an_error_names_arguments_to_python_and_flags_to_the_shell() -> None:
    assert str(SIZES) == "the sizes differ.\n  Bring images to one size: image_size=."
    assert SIZES.said(flag_of) == "the sizes differ.\n  Bring images to one size: --image-size PIXELS."
    assert str(SEVERAL) == "bad.\n  Say: mean=, std=; or take: kind='shared'."
    assert SEVERAL.said(flag_of) == "bad.\n  Say: --mean, --std; or take: --kind shared."
    assert str(EXISTS) == "x exists.\n  Replace it: force=True."
    assert EXISTS.said(flag_of) == "x exists.\n  Replace it: --force."
    assert str(BadInput("no advice.")) == BadInput("no advice.").said(flag_of) == "no advice."


def test_an_error_comes_whole_out_of_another_process() -> None:
    assert str(pickle.loads(pickle.dumps(SEVERAL))) == str(SEVERAL)


def test_a_command_may_call_an_argument_otherwise() -> None:
    with pytest.raises(BadInput) as caught, called(mean=("seen_rows", "all_classes")):
        raise SEVERAL
    assert caught.value.said(flag_of) == "bad.\n  Say: --seen-rows, --all-classes, --std; or take: --kind shared."


FILES = [path for path in ROOT.rglob("*.py") if "cli" not in path.relative_to(ROOT).parts]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_message_outside_the_shell_names_a_flag(path: Path) -> None:
    raised = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Raise)]
    texts = [n.value for r in raised for n in ast.walk(r) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert not [text for text in texts if re.search(r"(^|\W)--[a-z]", text)]
