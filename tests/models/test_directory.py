"""Model directories whose record lies."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reclaim.core.errors import BadInput, BadKind
from reclaim.data.inputs.image import Preprocess
from reclaim.models.directory import load_model, save_model

CLASSES = tuple("abcdefghij")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = replace(load_model("reclaim/digits_cnn"), classes=CLASSES, seen=("a", "b"))
    save_model(tmp_path, replace(model, preprocess=Preprocess(1, 8, 8, (0.5,), (0.25,))))
    return tmp_path


def changed(folder: Path, **values: Any) -> None:
    path = folder / "reclaim.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


LIES: list[tuple[str, list[object]]] = [
    ("library", [None, True, 3, [], {}, "", "os", ["reclaim"]]),
    ("name", [None, True, 3, [], {}, "", "resnet99", "os:system"]),
    ("classes", [None, True, 3, "ab", {}, ["a"], ["a"] * 10, [*CLASSES[:-1], 9], [*CLASSES[:-1], None], [[*CLASSES]]]),
    ("seen", [True, 3, "a", {}, [0, 1], ["z"], [None]]),
    ("head", [True, 3, [], {}, "9", "no.such.layer"]),
    ("preprocess", [True, 3, "x", [], [1], {"rotation": 90}]),
]
INSIDE: list[tuple[str, list[object]]] = [
    ("channels", ["1", True, 1.5, 0, -1, 2, 2**70]),
    ("resize", ["8", True, 8.5, 0, -8]),
    ("crop", ["8", [8], 0, -8]),
    ("mean", [None, 0.5, ["0.5"], [0.5, 0.5], [True]]),
    ("std", [None, 0.25, [0], [-1.0], [0.25, 0.25]]),
    ("interpolation", ["nearest", None, 3]),
]


@pytest.mark.parametrize(("key", "lie"), [(key, lie) for key, lies in LIES for lie in lies])
def test_a_record_with_another_kind_of_value_is_refused_with_its_name(folder: Path, key: str, lie: object) -> None:
    load_model(str(folder))
    changed(folder, **{key: lie})
    with pytest.raises((BadInput, BadKind), match=r"reclaim\.json"):
        load_model(str(folder))


@pytest.mark.parametrize(("key", "lie"), [(key, lie) for key, lies in INSIDE for lie in lies])
def test_so_is_one_that_prepares_images_in_no_way_there_is(folder: Path, key: str, lie: object) -> None:
    changed(folder, preprocess=json.loads((folder / "reclaim.json").read_text())["preprocess"] | {key: lie})
    with pytest.raises((BadInput, BadKind), match=r"reclaim\.json"):
        load_model(str(folder))


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "[" * 200_000, "9" * 5000, '{"library": "reclaim"}', "{} {}"])
def test_what_is_no_record_is_refused(folder: Path, text: str) -> None:
    (folder / "reclaim.json").write_text(text)
    with pytest.raises(BadInput, match=r"reclaim\.json"):
        load_model(str(folder))


def test_a_record_as_version_0_1_wrote_it_is_read(folder: Path) -> None:
    record = json.loads((folder / "reclaim.json").read_text())
    old = {key: record[key] for key in ("library", "name", "classes", "preprocess")}
    for name in ("reclaim.networks:digits_cnn", "reclaim.models.networks:digits_cnn"):
        (folder / "reclaim.json").write_text(json.dumps(old | {"library": "plain", "name": name}))
        model = load_model(str(folder))
        assert model.classes == CLASSES and model.seen is None and model.images == Preprocess(1, 8, 8, (0.5,), (0.25,))
    (folder / "reclaim.json").write_text(json.dumps(old | {"preprocess": None}))
    assert load_model(str(folder)).images == Preprocess(channels=1)
