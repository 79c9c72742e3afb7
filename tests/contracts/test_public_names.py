"""The flat names: registries, stub and package agree, and asking for none of them costs nothing."""

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import reclaim
from reclaim.core.registry import find, names

ROOT = Path(reclaim.__file__).parent
PLACES = {  # what the stub says: the name, and the module that defines it
    alias.name: node.module
    for node in ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module
    for alias in node.names
}
FAMILIES = ("recipes", "calibrators", "merges")  # selectors are named by a word: LogitOffset.select(evidence, "auto")


@pytest.mark.parametrize("name", PLACES)
def test_a_name_is_what_the_stub_says_and_lives_where_it_says(name: str) -> None:
    module = import_module(PLACES[name])
    assert getattr(reclaim, name) is vars(module)[name]
    assert getattr(reclaim, name).__module__ == PLACES[name], f"{name} is only passed on by {PLACES[name]}"
    assert name in module.__all__


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_has_a_public_name(family: str) -> None:
    for name in names(family):
        method = find(family, name)
        line = f"from {method.__module__} import {method.__name__} as {method.__name__}"
        assert PLACES.get(method.__name__) == method.__module__, f"src/reclaim/__init__.pyi lacks: {line}"


def test_the_package_shows_the_names_of_the_stub() -> None:
    assert set(dir(reclaim)) == {*PLACES, "__version__"}
    assert set(reclaim.__all__) == set(PLACES)
    everything: dict[str, object] = {}
    exec("from reclaim import *", everything)
    assert set(PLACES) <= set(everything)


def test_editors_take_every_name_as_exported() -> None:
    for node in ast.walk(ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname == alias.name for alias in node.names)


def test_no_name_is_a_room() -> None:
    """Importing a module of a room puts the room where a name of the same spelling was."""
    assert not set(PLACES) & {path.name for path in ROOT.iterdir() if path.is_dir()}


def test_a_name_stays_itself_when_its_room_is_imported() -> None:
    for path in ROOT.rglob("*.py"):
        if path.stem in PLACES:
            import_module(".".join(["reclaim", *path.relative_to(ROOT).with_suffix("").parts]))
    assert all(getattr(reclaim, name) is vars(import_module(place))[name] for name, place in PLACES.items())


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'wizard'"):
        reclaim.wizard  # noqa: B018
    with pytest.raises(ImportError, match="wizard"):
        exec("from reclaim import wizard")


def test_importing_the_package_loads_neither_torch_nor_numpy_and_takes_a_tenth_of_a_second() -> None:
    code = (
        "import sys, time\nstart = time.process_time()\nimport reclaim\ntook = time.process_time() - start\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\nassert took <= 0.1, took"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_version_stands_in_one_place() -> None:
    told = tomllib.loads((ROOT.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in told["project"] and told["project"]["dynamic"] == ["version"]
    assert ROOT.parent.parent / told["tool"]["hatch"]["version"]["path"] == ROOT / "__init__.py"
