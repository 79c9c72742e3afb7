"""What the documentation shows runs as it stands there."""

import re
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import reclaim
from reclaim.calibration.protocol import Fitted
from reclaim.cli.main import COMMANDS
from reclaim.core.extras import require
from tests import toys

ROOT = Path(reclaim.__file__).parent.parent.parent
README = ROOT / "README.md"


def blocks(path: Path, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@contextmanager
def module(name: str, code: str) -> Iterator[types.ModuleType]:
    """The code as an importable module, for a while."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    try:
        exec(compile(code, name, "exec"), made.__dict__)
        yield made
    finally:
        del sys.modules[name]


def run_tests(code: str) -> int:
    with module("shown_test", code) as made:
        tests = [value for name, value in vars(made).items() if name.startswith("test_")]
        for test in tests:
            test()
    return len(tests)


def test_the_readme_runs(tmp_path: Path) -> None:
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        for code in blocks(README)
    ]
    assert "seen accuracy falls by at most 0.05 in expectation" in said[0]
    before, after = map(float, said[1].split())
    assert after == pytest.approx(before)
    *given, repaired = map(float, said[2].split())
    assert repaired > max(given) + 0.05 and len(given) == 2
    assert set(torch.load(tmp_path / "repaired.pth", weights_only=True)) == {
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    }


def test_the_readme_names_every_command() -> None:
    assert set(re.findall(r"^\| `reclaim (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)) == set(COMMANDS)


def test_the_example_recipe_passes_its_own_tests() -> None:
    recipe, tests = blocks(ROOT / "docs" / "adding-a-recipe.md")
    with module("reclaim.training.recipes.l2_sp", recipe):
        assert run_tests(tests) == 2


def test_the_example_calibrator_passes_its_own_tests() -> None:
    calibrator, tests = blocks(ROOT / "docs" / "adding-a-calibrator.md")
    with module("reclaim.calibration.calibrators.brier_temperature", calibrator) as made:
        assert run_tests(tests) == 1
        z, y, seen = toys.logits()
        assert torch.equal(made.BrierTemperature(2.0, Fitted((True,) * 7))(z), z / 2)
        fitted = made.BrierTemperature.fit(z[seen[y]], y[seen[y]], seen)
        alone = made.BrierTemperature.fit(z[seen[y]][:, seen], (seen.cumsum(0) - 1)[y[seen[y]]])
        assert fitted.temperature == pytest.approx(alone.temperature, rel=1e-4)


@pytest.mark.parametrize("page", ["adapters", "models", "repair", "tuning", "your-own-loop"])
def test_what_a_page_shows_runs_from_its_top_to_its_end(page: str) -> None:
    require("peft", extra="peft")
    torch.manual_seed(0)
    shown = "\n".join(blocks(ROOT / "docs" / f"{page}.md"))
    exec(compile(shown, page, "exec"), {})


@pytest.mark.parametrize("path", sorted([README, *(ROOT / "docs").rglob("*.md")]), ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_what_the_page_on_several_machines_shows_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for code in blocks(ROOT / "docs" / "several-machines.md"):
        exec(compile(code, "several-machines", "exec"), {})
    assert capsys.readouterr().out == "0 of 1\n"


@pytest.mark.parametrize(
    ("page", "said"), [("data", "('set an alarm', 'play music') play a song"), ("classify", "photos/0.png ")]
)
def test_the_examples_of_data_and_of_plain_files_run(tmp_path: Path, page: str, said: str) -> None:
    (tmp_path / "photos").mkdir()
    image = pytest.importorskip("PIL.Image")
    for i in range(2):
        image.new("L", (8, 8), 90 * i).save(tmp_path / "photos" / f"{i}.png")
    for code in blocks(ROOT / "docs" / f"{page}.md"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert said in done.stdout
