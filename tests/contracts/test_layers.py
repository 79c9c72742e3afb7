"""Imports point down only, and the pure layers stay pure."""

import ast
from pathlib import Path

import pytest

import reclaim

ROOT = Path(reclaim.__file__).parent
LAYERS = [
    {"core"},
    {"data", "snapshots"},
    {"calibration", "models"},
    {"training"},
    {"repairs"},
    {"report", "bridges"},
    {"papers"},
    {"cli", "__main__"},
]  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def layer(module: str) -> int:
    found = [i for i, names in enumerate(LAYERS) if module in names]
    assert found, f"{module} has no place among the layers"
    return found[0]


def imports(path: Path) -> set[str]:
    """The parts of this package that a file imports, wherever in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[1] for name in modules if name.startswith("reclaim.")}


@pytest.mark.parametrize(
    "path", [p for p in FILES if p != ROOT / "__init__.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_down_only(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert not {other for other in imports(path) if layer(other) > layer(own)}


def test_the_package_itself_imports_nothing() -> None:
    assert not any(
        isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse((ROOT / "__init__.py").read_text()).body
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_pure_layers_do_not_print_open_files_or_read_the_clock(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if own in ("__init__", "core") or layer(own) > 0:
        return
    text = path.read_text(encoding="utf-8")
    for forbidden in ("print(", "open(", "import time", "manual_seed(", "random.seed("):
        assert forbidden not in text, f"{path} must not use {forbidden}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
