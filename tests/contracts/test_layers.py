"""The house stands: imports point down, rooms of one floor do not know each other, registries hold methods only."""

import ast
import importlib
from pathlib import Path

import pytest

import reclaim
from reclaim.core.registry import FAMILIES, find, names

ROOT = Path(reclaim.__file__).parent
FLOORS = [
    {"core"},
    {"data", "snapshots"},
    {"calibration", "models"},
    {"training"},
    {"repairs"},
    {"report", "bridges"},
    {"papers"},
    {"cli"},
    {"__main__"},
]
PURE = {  # rooms whose files neither print, nor open files, nor read the clock, nor touch a global seed; and who may
    "core": {
        *("files", "disk", "workspace", "stopping", "npz", "records"),
        *("progress", "registry", "extras", "compat", "memory"),
        *("kinds", "csv_tables", "json_lines", "parquet", "torch_files"),
    },
    "snapshots": {"reading", "sealing", "writing"},
    "calibration": {"files"},
}
FILES = sorted(ROOT.rglob("*.py"))
EVERY = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))


def floor(room: str) -> int:
    found = [i for i, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"{room} is on no floor"
    return found[0]


def imports(path: Path) -> set[str]:
    """The rooms of this package that a file imports from, wherever in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[1] for name in modules if name.startswith("reclaim.")}


def test_the_root_holds_the_names_and_the_rooms() -> None:
    files = {path.name for path in ROOT.iterdir() if path.is_file()}
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert files == {"__init__.py", "__init__.pyi", "__main__.py", "py.typed"}
    assert rooms == set().union(*FLOORS) - {"__main__"}


@EVERY
def test_imports_point_down_only_and_never_sideways(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if own != "__init__":
        assert not {other for other in imports(path) if other != own and floor(other) >= floor(own)}


@EVERY
def test_the_pure_rooms_do_not_print_open_files_or_read_the_clock(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    if own in PURE and path.stem not in PURE[own]:
        text = path.read_text(encoding="utf-8")
        for forbidden in ("print(", "open(", "import time", "manual_seed(", "random.seed("):
            assert forbidden not in text, f"{path} must not use {forbidden}"


@EVERY
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_registry_folder_holds_methods_only(family: str) -> None:
    """Every entry is found under its name, has a summary, and nothing else lies beside it."""
    folder = ROOT / FAMILIES[family]
    for entry in folder.iterdir():
        if entry.name not in ("__init__.py", "__pycache__"):
            assert entry.suffix == ".py" or (entry / "__init__.py").is_file(), f"{entry} is no method"
            assert not entry.name.startswith("_"), f"{entry} hides in a registry"
    for name in names(family):
        method = find(family, name)
        assert (method.__doc__ or "").strip(), f"{family} {name} does not say what it does"
        assert importlib.import_module(method.__module__).__name__.startswith(
            f"reclaim.{FAMILIES[family].replace('/', '.')}."
        ), f"{name} is defined elsewhere"
