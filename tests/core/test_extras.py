"""Optional libraries come in by one door, each of them first in its process."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from reclaim.core import extras
from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from tests import finder

LIBRARIES = {
    "torchvision": "torchvision.models",
    "timm": "timm",
    "transformers": "transformers.models.vit.modeling_vit",
    "open-clip": "open_clip",
    "peft": "peft",
    "lightning": "lightning.pytorch",
    "data": "datasets",
}
ALONE = """import sys
sys.modules.pop('reclaim_torchvision', None)
sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != 'reclaim_torchvision']"""


def python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join([*map(str, paths), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": search}
    )


@pytest.mark.parametrize("extra", LIBRARIES)
def test_each_library_may_be_the_first_to_come_in(extra: str) -> None:
    done = python(f"{ALONE}\nfrom reclaim.core.extras import require\nrequire({LIBRARIES[extra]!r}, {extra!r})")
    assert done.returncode == 0, done.stderr


def test_the_finder_lets_processes_that_do_not_know_the_package_import_torchvision(tmp_path: Path) -> None:
    finder.write(tmp_path)
    code = f"{ALONE}\nimport site; site.addsitedir({str(tmp_path)!r})\nimport torchvision.models\nimport timm"
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_without_door_and_finder_nothing_is_changed() -> None:
    """Who imports torchvision alone meets what there is, whatever this package was asked before."""
    asked = f"{ALONE}\nimport torch\nfrom reclaim.core import extras\nassert not extras._KEEP\n"
    assert python(f"{asked}assert not hasattr(torch.ops.torchvision, 'nms')").returncode == 0


def test_what_loads_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The healthy branch: a compiled part that loads brings its operators itself."""
    import torch

    from reclaim.core.operators import define_missing

    (tmp_path / "_C.so").touch()
    loaded: list[str] = []
    monkeypatch.setattr(torch.ops, "load_library", loaded.append)
    assert define_missing(tmp_path) is None
    assert loaded == [str(tmp_path / "_C.so")]


def test_a_library_that_is_not_there_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = SimpleNamespace(find_spec=lambda name: None)
    monkeypatch.setattr(extras.importlib, "util", absent)
    with pytest.raises(BadInput, match=r"needs wizardry, which is not installed: pip install 'reclaim\[magic\]'"):
        require("wizardry.spells", "magic")
