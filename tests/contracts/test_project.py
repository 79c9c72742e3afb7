"""What lies around the library: examples run, and the hooks of a commit are the checks of the Makefile."""

import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import reclaim
from reclaim.core.registry import FAMILIES

ROOT = Path(reclaim.__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_states_its_command_uses_public_names_and_runs(path: Path, tmp_path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    assert f"Run: python examples/{path.name}" in code
    assert not re.search(r"(from|import) reclaim\.", code), "an example imports what `from reclaim import` gives"
    done = subprocess.run([sys.executable, "-W", "error", path], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and not list(tmp_path.iterdir())


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2


def test_the_hooks_of_a_commit_are_the_checks_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    assert [hook["entry"] for hook in hooks] == [
        command.replace("$(BIN)", ".venv/bin") for command in re.findall(r"^\t(.+)", lint, re.MULTILINE)
    ]


def test_the_guide_says_where_everything_is() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = set(re.findall(r"`([a-z]+(?:/[a-z]+)?)/`", guide))
    elsewhere = {room for room in rooms if not (ROOT / "src" / "reclaim" / room).is_dir()}
    assert elsewhere <= {"docs", "src/reclaim", "tests/contracts"}
    assert set(FAMILIES.values()) <= rooms


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]


def test_files_that_pages_name_are_there() -> None:
    """But for those of the two methods that the guides add, which are examples."""
    for page in pages():
        for name in re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|pyi))`", page.read_text(encoding="utf-8")):
            if not page.name.startswith("adding-"):
                assert any((base / name).is_file() for base in (ROOT, ROOT / "src" / "reclaim")), f"{page.name}: {name}"


def test_dotted_names_that_pages_name_are_there() -> None:
    for page in pages():
        for name in re.findall(r"`(reclaim(?:\.\w+)+)", page.read_text(encoding="utf-8")):
            assert pkgutil.resolve_name(name) is not None, f"{page.name}: {name}"


def test_a_source_distribution_holds_what_its_tests_read() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packed = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in packed if not (ROOT / name).exists()] == []
    read = {"docs", "examples", "tests", "README.md", "CONTRIBUTING.md", "Makefile", ".pre-commit-config.yaml"}
    assert read <= set(packed)


def test_commands_of_benchmarks_are_spelt_as_the_benchmarks_lie() -> None:
    written = [path for folder in ("docs", "benchmarks") for path in (ROOT / folder).rglob("*.[mp][dy]")]
    every = [ROOT / "Makefile", *ROOT.glob("*.md"), *written]
    told = {page: re.findall(r"-m benchmarks\.([a-z_.]+)", page.read_text(encoding="utf-8")) for page in every}
    assert sum(map(len, told.values())) > 10
    for page, modules in told.items():
        for module in modules:
            path = ROOT / "benchmarks" / f"{module.rstrip('.').replace('.', '/')}.py"
            assert path.is_file(), f"{page} runs benchmarks.{module}"
            assert 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks").rglob("*.py"):
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8"):
            own = ".".join(path.relative_to(ROOT / "benchmarks").with_suffix("").parts)
            assert own in told[path], f"{path} does not say how it is run"
            assert own in told[ROOT / "Makefile"], f"no target of the Makefile runs {path}"
