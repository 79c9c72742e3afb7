"""Private names of dependencies are used in `core/compat.py` alone."""

import ast
from pathlib import Path

import pytest

import reclaim

ROOT = Path(reclaim.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "core" / "compat.py")


def private(name: str) -> bool:
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def private_names(source: str) -> set[str]:
    """Names with a leading underscore that a source imports from elsewhere, or reads off what it imports from there."""
    imported, found = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [(alias.name, alias.asname) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        else:
            continue
        for name, known_as in modules:
            if not name.startswith(("reclaim.", "__future__.")):
                imported.add(known_as or name.partition(".")[0])
                found |= {name} if private(name) else set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node)
            if private(node.attr) and chain.partition(".")[0] in imported:
                found.add(chain)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_of_dependencies_stand_in_one_file(path: Path) -> None:
    assert not private_names(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "from torch._subclasses.fake_tensor import FakeTensor",
        "from sklearn.utils.metaestimators import _safe_split",
        "import torch.utils._pytree as trees",
        "def f():\n    import torch\n    return torch.Tensor._make_wrapper_subclass(f, (1,))",
        "from accelerate.state import AcceleratorState as State\nState._reset_state()",
    ],
)
def test_every_way_to_a_private_name_is_found(source: str) -> None:
    assert private_names(source)


def test_public_names_and_own_ones_are_left_alone() -> None:
    assert not private_names("import torch\nimport reclaim.core._x\ntorch.nn.Linear(1, 2).__dict__")
    assert not private_names("_own = 3\nself._own = _own")
