"""Folders of class folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reclaim.core.errors import BadInput
from reclaim.data.load import drop_unreadable, load_data


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5, 3), value, dtype=np.uint8)).save(path)


def test_without_splits_every_row_is_in_all_and_every_class_seen(tmp_path: Path) -> None:
    for i, name in enumerate(("bee", "ant", "ant")):
        picture(tmp_path / name / f"{i}.png", 10 * i)
    data = load_data(str(tmp_path))
    assert data.classes == ("ant", "bee") and list(data.splits) == ["all"] and data.seen.tolist() == [True, True]
    rows = data.split("all")
    assert rows.labels.tolist() == [0, 0, 1]
    assert [np.asarray(rows.read(i))[0, 0, 0] for i in range(3)] == [10, 20, 0]
    assert rows.name(2).endswith("bee/0.png")


def test_the_classes_of_the_training_split_are_seen(tmp_path: Path) -> None:
    for split, names in {"train": "bd", "valid": "abcd", "test": "abcd"}.items():
        for name in names:
            picture(tmp_path / split / name / "deep" / "x.JPEG")
    (tmp_path / "train" / ".cache").mkdir()
    data = load_data(str(tmp_path))
    assert data.classes == tuple("abcd") and list(data.splits) == ["test", "train", "val"]
    assert data.seen.tolist() == [False, True, False, True]
    assert data.split("train").labels.tolist() == [1, 3]
    assert data.seen_only("test").labels.tolist() == [1, 3]


def test_folders_without_classes_or_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no class folders"):
        load_data(str(tmp_path))
    picture(tmp_path / "ant" / "x.png")
    (tmp_path / "bee").mkdir()
    with pytest.raises(BadInput, match=r"class folders without an image: .*bee"):
        load_data(str(tmp_path))
    (tmp_path / "bee").rmdir()
    for split in ("train", "val"):  # in one split only, and of a class that another split has
        picture(tmp_path / "split" / split / "ant" / "x.png")
    (tmp_path / "split" / "val" / "bee").mkdir()
    picture(tmp_path / "split" / "train" / "bee" / "x.png")
    with pytest.raises(BadInput, match=r"class folders without an image: .*split/val/bee\.\n"):
        load_data(str(tmp_path / "split"))


def test_an_unreadable_image_is_named_and_can_be_dropped(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path / "ant" / f"{i}.png")
    (tmp_path / "ant" / "1.png").write_bytes((tmp_path / "ant" / "1.png").read_bytes()[:40])
    (tmp_path / "ant" / "3.png").write_text("no image")
    rows = load_data(str(tmp_path)).split("all")
    for i in (1, 3):
        with pytest.raises(BadInput, match=rf"ant/{i}\.png cannot be read as an image"):
            rows.read(i)
    kept, bad = drop_unreadable(rows)
    assert [Path(name).name for name in bad] == ["1.png", "3.png"]
    assert len(kept) == 2 and kept.name(1).endswith("2.png") and np.asarray(kept.read(1)).shape == (6, 5, 3)
    with pytest.warns(UserWarning, match=r"left out: \S*1\.png, \S*3\.png"):
        assert len(load_data(str(tmp_path), skip_bad=True).split("all")) == 2


def test_rows_of_rows_keep_their_place(tmp_path: Path) -> None:
    for i in range(5):
        picture(tmp_path / "ant" / f"{i}.png", i)
    rows = load_data(str(tmp_path)).split("all").rows(torch.tensor([4, 2, 0])).rows(torch.tensor([False, True, True]))
    assert [np.asarray(rows.read(i))[0, 0, 0] for i in range(2)] == [2, 0]


def test_seen_classes_can_be_named(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / name / "x.png")
    data = load_data(str(tmp_path))
    assert data.with_seen(("c", "a")).seen.tolist() == [True, False, True]
    for names in (("x",), ()):
        with pytest.raises(BadInput, match="seen classes that the data do not have"):
            data.with_seen(names)
    with pytest.raises(BadInput, match="no split called 'val'; there are: all"):
        data.split("val")


def test_over_more_classes_the_new_ones_are_absent(tmp_path: Path) -> None:
    for name in "bd":
        picture(tmp_path / name / "x.png")
    data = load_data(str(tmp_path)).over(tuple("dcba"))
    assert data.split("all").labels.tolist() == [2, 0] and data.seen.tolist() == [True, False, True, False]
    with pytest.raises(BadInput, match="lacks: d"):
        load_data(str(tmp_path)).over(tuple("abc"))


def test_a_place_that_does_not_exist_is_named() -> None:
    with pytest.raises(BadInput, match="no data at 'nowhere'"):
        load_data("nowhere")
