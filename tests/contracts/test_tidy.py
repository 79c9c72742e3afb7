"""Files stay short, functions too, and `__init__.py` holds no code."""

import ast
import re
from pathlib import Path

import pytest

import reclaim
from reclaim.core.registry import names

ROOT = Path(reclaim.__file__).parent
PROJECT = ROOT.parent.parent
SOURCES = sorted(ROOT.rglob("*.py"))
BENCHMARKS = sorted((PROJECT / "benchmarks").rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES + BENCHMARKS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_file_has_more_than_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_has_more_than_60_lines(path: Path) -> None:
    functions = [n for n in ast.walk(parsed(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {n.name: lines for n in functions if (lines := (n.end_lineno or n.lineno) - n.lineno + 1) > 60}
    assert not long


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.name == "__init__.py" and p.parent != ROOT], ids=lambda p: p.parent.name
)
def test_a_room_says_what_it_is_for_and_holds_no_code(path: Path) -> None:
    body = parsed(path).body
    assert ast.get_docstring(parsed(path)) and len(body) == 1


def test_no_benchmark_has_the_name_of_a_public_function() -> None:
    assert not {path.stem for path in BENCHMARKS} & set(reclaim.__all__)


@pytest.mark.parametrize("family", ["recipes", "merges", "diagnoses", "papers", "calibrators", "selectors"])
def test_contracts_ask_no_method_for_its_name(family: str) -> None:
    """What is so for one method alone stands in that method's own test."""
    name = {"diagnoses": "diagnosis"}.get(family, family.removesuffix("s"))
    tree = parsed(PROJECT / "tests" / "contracts" / f"test_every_{name}.py")
    compared = [part for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in ast.walk(node)]
    words = {part.value for part in compared if isinstance(part, ast.Constant)}
    assert not words & {*names(family), *(method.replace("-", "_") for method in names(family))}


def test_no_test_reaches_into_a_module_by_a_dotted_text() -> None:
    """What a test must change is a value that can be passed."""
    for path in (PROJECT / "tests").rglob("*.py"):
        assert not re.search(r"setattr\(\s*[\"'][\w.]+\.", path.read_text(encoding="utf-8")), path
