"""No row is gained or lost in silence: what folders hold beside their examples, and what is said of it."""

import os
import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from reclaim.core.errors import BadInput
from reclaim.data.load import load_data, open_source
from reclaim.data.records import Data
from reclaim.data.sources.folder import folder as class_folders
from tests.data.sources.test_folder import picture


def left_out(data: Data) -> dict[str, tuple[int, tuple[str, ...]]]:
    assert data.report is not None
    return {one.why: (one.count, one.names) for one in data.report.left_out}


def classes(root: Path, *names: str) -> None:
    for name in names:
        picture(root / name / "0.png")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's whole path must be short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def text(path: Path) -> None:
    path.write_text("BM, P6, GIF89: words")


def nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def itself(path: Path) -> None:
    path.symlink_to(path.name)


def to_pipe(path: Path) -> None:
    os.mkfifo(path.parent / ".pipe")
    path.symlink_to(".pipe")


def folder_elsewhere(path: Path) -> None:
    classes(path.parent / ".elsewhere", "x")
    path.symlink_to(".elsewhere")


def folder(path: Path) -> None:
    picture(path / "1.png")


@pytest.mark.parametrize("depth", ["", "deep/er/"])
@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        (".ipynb_checkpoints", folder, "hidden"),
        ("._1.png", text, "hidden"),
        ("@eaDir", folder, "of other programs"),
        ("__MACOSX", folder, "of other programs"),
        ("Thumbs.db", text, "of other programs"),
        ("0.jpg~", text, "of other programs"),
        ("1.png", pipe, "special files, which are never opened"),
        ("pipe", pipe, "special files, which are never opened"),
        ("1.jpg", listening, "special files, which are never opened"),
        ("2.png", to_pipe, "special files, which are never opened"),
        ("1.png", nowhere, "broken links"),
        ("1.png", itself, "broken links"),
        ("more", folder_elsewhere, "links to folders inside a class"),
        ("1.heic", text, "with the suffix .heic"),
        ("README", text, "without a suffix"),
    ],
)
def test_what_is_no_example_is_left_out_counted_and_named(
    tmp_path: Path, depth: str, name: str, make: Callable[[Path], None], why: str
) -> None:
    root = tmp_path / "photos"
    classes(root, "ant", "bee")
    place = root / "bee" / depth / name
    place.parent.mkdir(parents=True, exist_ok=True)
    make(place)
    data = open_source(str(root))
    assert len(data.split("all")) == 2 and data.report is not None and data.report.rows == {"all": {"ant": 1, "bee": 1}}
    found = left_out(data)
    assert found.pop(why) == (1, (f"bee/{depth}{name}",)) and found.keys() <= {"hidden"}
    assert f"1 {why}" in data.report.line("photos")


def test_nothing_is_said_of_what_nobody_takes_for_an_example(tmp_path: Path) -> None:
    classes(tmp_path, "ant", "bee", ".git", "@eaDir")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert left_out(load_data(str(tmp_path))).keys() == {"hidden", "of other programs"}
    (tmp_path / "ant" / "1.heic").write_text("x")
    with pytest.warns(
        UserWarning, match=r"2 rows of 2 classes \(all 2\); left out: .*1 with the suffix \.heic \(ant/1"
    ):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.jfif", "JPEG"), ("a.xyz", "PNG"), ("a", "WEBP"), ("a.qoi", "QOI"), ("a.tga", "TGA"), ("a.ico", "ICO")],
)
def test_an_image_is_one_by_its_content(tmp_path: Path, name: str, form: str) -> None:
    classes(tmp_path, "ant", "bee")
    Image.new("RGB", (16, 16), (0, 200, 0)).save(tmp_path / "bee" / name, form)
    data = open_source(str(tmp_path))
    read = data.split("all").read(data.split("all").labels.tolist().index(1) + 1)
    assert len(data.split("all")) == 3 and read.convert("RGB").getpixel((3, 3))[1] > 150
    assert data.report is not None and not data.report.left_out
    assert data.report.by_content == (name != "a.jfif")


def test_drawings_that_other_programs_would_draw_are_no_images(tmp_path: Path) -> None:
    classes(tmp_path, "ant")
    for name in ("a.eps", "b.png"):
        Image.new("RGB", (16, 16)).save(tmp_path / "ant" / name, "EPS")
    data = open_source(str(tmp_path))
    assert left_out(data)["with the suffix .eps"][0] == 1 and len(data.split("all")) == 2
    with pytest.raises(BadInput, match=r"b\.png is EPS"):
        data.split("all").read(1)


@pytest.mark.parametrize("test", ["test", "Testing", "TEST", "test-set"])
def test_splits_are_known_by_their_other_names(tmp_path: Path, test: str) -> None:
    for split, count in (("Training", 2), ("valid", 1), (test, 3)):
        for i in range(count):
            picture(tmp_path / split / "ant" / f"{i}.png")
    data = open_source(str(tmp_path))
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "val": 1, "test": 3}
    assert data.split("validation") is data.split("val") and data.report is not None
    assert data.report.folders == {"train": "Training", "val": "valid", "test": test}


def test_two_names_for_one_split_are_refused(tmp_path: Path) -> None:
    classes(tmp_path, "train/ant", "val/ant", "valid/ant")
    with pytest.raises(BadInput, match="two names for the split 'val': 'val' and 'valid'"):
        load_data(str(tmp_path))


def test_a_folder_that_looks_like_another_split_is_refused_and_any_other_is_left_out(tmp_path: Path) -> None:
    classes(tmp_path, "train/ant", "test/ant", "sketches/zebra")
    (tmp_path / "notes").mkdir()
    picture(tmp_path / "cover.png")
    picture(tmp_path / "train" / "loose.png")
    found = left_out(open_source(str(tmp_path)))
    assert found["folders beside the splits"] == (2, ("notes", "sketches"))
    assert found["outside class folders"] == (2, ("cover.png", "train/loose.png"))
    classes(tmp_path, "holdout/Ant")
    with pytest.raises(
        BadInput, match=r"holdout holds images in folders of classes \(Ant\) and lies beside test/, train/"
    ):
        load_data(str(tmp_path))


def test_splits_below_classes_are_refused(tmp_path: Path) -> None:
    classes(tmp_path, "ant/train", "ant/test", "bee/train")
    with pytest.raises(BadInput, match="ant would be a class, and holds a folder called like a split: test/"):
        load_data(str(tmp_path))


def test_classes_that_hold_the_same_folders_are_a_guess_that_is_said(tmp_path: Path) -> None:
    classes(tmp_path, "part1/cat", "part1/dog", "part2/cat", "part2/dog")
    data = open_source(str(tmp_path))
    assert data.classes == ("part1", "part2") and data.report is not None and data.report.worth_a_word
    assert data.report.notes == ("the classes part1, part2 hold the same folders (cat, dog), as splits would",)
    picture(tmp_path / "part2" / "1.png")
    assert open_source(str(tmp_path)).report.notes == ()  # type: ignore[union-attr]


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    classes(tmp_path, "train", "bus", "ship")  # vehicles
    data = open_source(str(tmp_path))
    assert data.classes == ("bus", "ship", "train") and list(data.splits) == ["all"] and data.report is not None
    assert data.report.notes == ("train/ is taken for a class: it holds images and no class folders",)
    other = tmp_path / "other"
    classes(other, "train/train", "train/bus", "val/train")
    assert open_source(str(other)).classes == ("bus", "train")
    loose = tmp_path / "loose"
    classes(loose, "train", "test")
    with pytest.raises(BadInput, match="has no class folders"):
        load_data(str(loose))


def test_an_empty_test_split_stays_one(tmp_path: Path) -> None:
    """Were it gone, the rows of val/ would be divided and half of them reported on."""
    classes(tmp_path, "train/ant", "val/ant", "test")
    data = open_source(str(tmp_path))
    assert len(data.split("test")) == 0 and left_out(data)["outside class folders"] == (1, ("test/0.png",))


def test_links_are_followed_where_classes_and_files_are_and_counted(tmp_path: Path) -> None:
    classes(tmp_path / "store", "ant", "bee")
    root = tmp_path / "photos"
    (root / "cat").mkdir(parents=True)
    (root / "ant").symlink_to(tmp_path / "store" / "ant")
    (root / "cat" / "0.png").symlink_to(tmp_path / "store" / "bee" / "0.png")
    data = open_source(str(root))
    assert data.classes == ("ant", "cat") and len(data.split("all")) == 2
    assert data.report is not None and data.report.linked == 1 and not data.report.left_out


@pytest.mark.parametrize(
    ("link", "target"),
    [("cat", "ant"), ("cat", "."), ("train", "store"), ("train", "test"), ("test/bee", "../test/ant")],
)
def test_one_folder_by_two_names_is_refused(tmp_path: Path, link: str, target: str) -> None:
    if link == "cat":
        classes(tmp_path, "ant", "bee")
    else:
        classes(tmp_path, "test/ant", "val/ant")
    if target == "store":  # two splits are links to one folder
        classes(tmp_path / ".store", "ant")
        (tmp_path / "dev").symlink_to(".store")
        target = ".store"
        (tmp_path / "val").rename(tmp_path / ".val")
    (tmp_path / link).symlink_to(target)
    with pytest.raises(BadInput, match="are one folder, by a symbolic link"):
        load_data(str(tmp_path))


def test_classes_whose_names_look_alike_are_refused(tmp_path: Path) -> None:
    classes(tmp_path, "train/caf\u00e9", "val/cafe\u0301")
    with pytest.raises(BadInput, match=r"'caf\\xe9' in train/, 'cafe\\u0301' in val/"):
        load_data(str(tmp_path))


def test_a_name_that_is_not_utf8_is_refused_and_a_file_may_have_one(tmp_path: Path) -> None:
    classes(tmp_path, "ant")
    os.link(tmp_path / "ant" / "0.png", os.fsencode(tmp_path / "ant") + b"/\xff.png")
    (tmp_path / "ant" / os.fsdecode(b"\xfe.txt")).touch()
    data = open_source(str(tmp_path))
    assert len(data.split("all")) == 2 and left_out(data)["with the suffix .txt"][1] == (r"ant/\xfe.txt",)
    picture(tmp_path / os.fsdecode(b"\xff") / "0.png")
    with pytest.raises(BadInput, match="is not UTF-8"):
        load_data(str(tmp_path))


def test_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    classes(tmp_path, *map(str, range(12)))
    assert load_data(str(tmp_path)).classes == tuple(map(str, range(12)))


def test_unreadable_examples_are_in_the_report(tmp_path: Path) -> None:
    classes(tmp_path, "ant", "bee")
    (tmp_path / "bee" / "1.png").write_text("no image")
    with pytest.warns(UserWarning, match="left out: .*1.png"):
        data = load_data(str(tmp_path), skip_bad=True)
    assert left_out(data)["unreadable"][0] == 1 and data.report is not None
    assert data.report.record()["rows"] == {"all": {"ant": 1, "bee": 1}}


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes(tmp_path, "ant", "bee")

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInput, match="cannot be read: Permission denied"):
        class_folders(str(tmp_path))
