"""Help: at once, without torch, and complete."""

import importlib
import subprocess
import sys

import pytest

from reclaim.cli.main import COMMANDS, about
from reclaim.core.registry import FAMILIES, names

PAGES = [
    [],
    *[[command] for command in COMMANDS],
    *[["tune", name] for name in names("recipes")],
    *[["merge", name] for name in names("merges")],
    ["calibrate", "logit-offset"],
]


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_no_help_page_imports_torch(page: list[str]) -> None:
    code = (
        "import sys\nfrom reclaim.cli.main import main\n"
        f"try:\n    main({[*page, '--help']!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: reclaim" in done.stdout


def test_as_a_module_it_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "reclaim", "--version"], capture_output=True, text=True, check=True)
    import reclaim as package

    assert done.stdout.strip() == package.__version__


def test_the_flags_of_a_recipe_are_its_arguments(reclaim) -> None:
    page = reclaim("tune", "wise-ft", "--help").out
    for flag in ("--alpha", "--weight", "--mode", "--epochs", "--learning-rate", "--model", "--data", "--out"):
        assert flag in page
    assert "0 is the pretrained model, 1 the" in page  # from the recipe's own docstring


def test_list_names_every_method_with_its_source(reclaim) -> None:
    found = reclaim("list", "--json").json
    assert list(found) == list(FAMILIES)
    for family in FAMILIES:
        assert [method["name"] for method in found[family]] == names(family)
        assert all(set(method) == {"name", "summary", "source"} and method["source"] for method in found[family])
    assert list(reclaim("list", "selectors", "--json").json) == ["selectors"]
    assert "average-logit-gap" in reclaim("list").out


@pytest.mark.parametrize(
    "words",
    [
        ["lsit"],
        ["list", "wizards"],
        ["tune", "lpft"],
        ["repair"],
        ["evaluate", "x", "--wrong"],
        ["demo", "--out", "x", "--seed", "y"],
    ],
)
def test_a_wrong_call_ends_with_two_one_message_and_no_traceback(reclaim, words: list[str]) -> None:
    done = reclaim(*words)
    assert done.code == 2 and done.err.strip() and "Traceback" not in done.err + done.out


def test_the_folder_of_commands_is_the_list_and_each_says_what_it_does(reclaim) -> None:
    page = " ".join(reclaim("--help").out.replace("│", " ").split())
    for command in COMMANDS:
        module = importlib.import_module(f"reclaim.cli.commands.{command}")
        assert callable(module.command), f"{command} names no command"
        first = about(command).partition("\n\n")[0].replace("\n", " ")
        assert first.endswith(".") and first in page, f"{command} does not say what it does"
    assert "it mixes their answers and writes mixture.json" in " ".join(reclaim("repair", "--help").out.split())
    assert "Files are those of the first seed." in " ".join(reclaim("demo", "--help").out.split())  # and the rest of it
