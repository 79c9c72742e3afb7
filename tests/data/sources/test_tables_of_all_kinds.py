"""The same rows from a table of any kind, a folder of tables, a saved folder, tars: one answer."""

import io
import json
import pickle
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reclaim.core.errors import BadInput
from reclaim.data.guesses import Columns
from reclaim.data.load import load_data, open_source
from reclaim.data.records import Data
from reclaim.data.sources import hub as of_hub

NAMES = ("cat", "ant", "dog")
LABELS = [2, 0, 1, 1, 0, 2]
PICTURES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


def png(i: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURES[i]).save(buffer, "PNG")
    return buffer.getvalue()


def rows(split: slice = slice(None)) -> dict[str, list[Any]]:
    return {
        "file_name": [f"images/{i}.png" for i in range(6)][split],
        "label": [NAMES[label] for label in LABELS][split],
    }


def images(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    for i in range(6):
        (folder / "images" / f"{i}.png").write_bytes(png(i))


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    lines = list(zip(*columns.values(), strict=True))
    if path.suffix == ".csv":
        path.write_text("\n".join(",".join(map(str, line)) for line in [tuple(columns), *lines]))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(columns, line, strict=True))) for line in lines))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    return path


def as_named(data: Data, split: str = "all") -> list[str]:
    return [data.classes[label] for label in data.split(split).labels.tolist()]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_images_by_paths_relative_to_the_table(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path / "d")
    table = write(tmp_path / "d" / f"list{suffix}", rows())
    with pytest.warns(UserWarning, match="guessed by the names of the columns: images from 'file_name'$"):
        data = load_data(str(table))
    assert data.classes == ("ant", "cat", "dog") and as_named(data) == rows()["label"]
    assert all(np.array_equal(np.asarray(data.split("all").read(i)), PICTURES[i]) for i in range(6))
    assert data.report is not None and data.report.rows == {"all": {"ant": 2, "cat": 2, "dog": 2}}
    data = load_data(str(table), image_column="file_name")  # said: nothing is guessed, no word
    (tmp_path / "d" / "images" / "3.png").write_bytes(b"broken")
    with pytest.raises(BadInput, match=rf"list{suffix}, row 3 \(images/3.png\) cannot be read"):
        data.split("all").read(3)
    with pytest.warns(UserWarning, match="unreadable examples were left out: .*row 3"):
        assert len(load_data(str(table), image_column="file_name", skip_bad=True).split("all")) == 5


def test_texts_and_labels_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("Utterance\tIntent\tpatient\nhello, you\tgreet\tp1\nbye\tleave\tp2\n")
    with pytest.warns(UserWarning, match="texts from 'Utterance' and labels from 'Intent'"):
        data = load_data(str(tmp_path / "t.tsv"), group_column="patient")
    assert [data.split("all").read(i) for i in range(2)] == ["hello, you", "bye"]
    assert data.split("all").group_names == ("p1", "p2")
    other = load_data(str(tmp_path / "t.tsv"), text_column="patient", label_column="Utterance")
    assert other.split("all").read(1) == "p2" and other.classes == ("bye", "hello, you")


def test_a_folder_of_tables_has_the_splits_that_its_files_are_called_by(tmp_path: Path) -> None:
    images(tmp_path)
    write(tmp_path / "train.csv", rows(slice(0, 3)))
    write(tmp_path / "validation-00000-of-00002.jsonl", rows(slice(3, 4)))
    write(tmp_path / "validation-00001-of-00002.jsonl", rows(slice(4, 6)))
    write(tmp_path / "submission.csv", {"id": [1], "text": ["x"]})
    (tmp_path / "test.csv").write_text("file_name\nimages/0.png\n")
    data = open_source(str(tmp_path))
    assert as_named(data, "train") == rows()["label"][:3] and as_named(data, "val") == rows()["label"][3:]
    assert data.seen.tolist() == [True, True, True] and list(data.splits) == ["train", "val"]
    assert np.array_equal(np.asarray(data.split("val").read(2)), PICTURES[5])
    assert data.report is not None
    line = data.report.line("d")
    assert "6 rows of 3 classes (train from train.csv 3, val from validation-00000-of-00002.jsonl" in line
    assert "splits without labels (test)" in line and "submission.csv" in line


def test_class_folders_with_a_table_beside_them_stay_class_folders(tmp_path: Path) -> None:
    for i, name in enumerate(("ant", "bee")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{i}.png").write_bytes(png(i))
    write(tmp_path / "train.csv", rows())
    assert open_source(str(tmp_path)).classes == ("ant", "bee")


@pytest.mark.parametrize("several", [False, True])
def test_a_folder_that_datasets_saved(tmp_path: Path, several: bool) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    made = datasets.Dataset.from_dict(
        {"image": [Image.fromarray(picture) for picture in PICTURES], "label": LABELS}, features=features
    )
    whole = datasets.DatasetDict(train=made.select(range(3)), validation=made) if several else made
    whole.save_to_disk(tmp_path / "d")
    data = load_data(str(tmp_path / "d"))
    split = "val" if several else "all"
    assert data.classes == NAMES and data.split(split).labels.tolist() == LABELS
    assert all(np.array_equal(np.asarray(data.split(split).read(i)), PICTURES[i]) for i in range(6))
    assert data.split(split).name(4) == f"d, {'validation' if several else 'all'}, row 4"
    next((tmp_path / "d").rglob("*.arrow")).write_bytes(b"ARROW1 no more")
    with pytest.raises(BadInput, match="cannot be read as a folder that `datasets` saved"):
        load_data(str(tmp_path / "d"))


def test_numbers_with_other_names_in_each_split_are_joined_by_name(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for split, names in (("train", ["ant", "bee"]), ("test", ["bee", "ant"])):
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        rows = {"text": ["a", "b", "b"], "label": [names.index(name) for name in ("ant", "bee", "bee")]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{split}.parquet")
    data = open_source(str(tmp_path))
    assert as_named(data, "train") == as_named(data, "test") == ["ant", "bee", "bee"]


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


class Planted:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('unpickled')",))


def test_tars_are_read_in_place_and_a_planted_pickle_is_never_opened(tmp_path: Path) -> None:
    for shard in range(2):
        members = {}
        for i in range(3 * shard, 3 * shard + 3):
            members |= {f"a/{i}.png": png(i), f"a/{i}.cls": str(LABELS[i]).encode()}
            members |= {f"a/{i}.json": json.dumps({"caption": f"no {i}", "patient": i // 2}).encode()}
            members |= {f"a/{i}.pyd": pickle.dumps(Planted()), f"a/{i}.x.pickle": pickle.dumps(Planted())}
        tar(tmp_path / f"s-{shard:03d}.tar", members)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    for source in (str(tmp_path / "s-{000..001}.tar"), str(tmp_path / "s-*.tar"), str(tmp_path)):
        data = open_source(source, Columns(group="patient"))
        assert data.classes == NAMES and data.split("all").labels.tolist() == LABELS
        assert all(np.array_equal(np.asarray(data.split("all").read(i)), PICTURES[i]) for i in range(6))
        assert data.split("all").name(4) == "s-001.tar, a/4" and data.split("all").groups is not None
        assert data.report is not None and "12 pickled" in data.report.line(source)
    texts = open_source(str(tmp_path), Columns(text="caption"))
    assert texts.split("all").read(5) == "no 5"
    with pytest.raises(BadInput, match=r"there is no file .*s-002\.tar"):
        open_source(str(tmp_path / "s-{000..002}.tar"))
    whole = (tmp_path / "s-001.tar").read_bytes()
    for end in (560, 1024, 1536):  # inside a member, and behind one
        (tmp_path / "s-001.tar").write_bytes(whole[:end])
        with pytest.raises(BadInput, match=r"s-001\.tar is no whole tar"):
            open_source(str(tmp_path / "s-001.tar"))


def test_labels_find_their_classes_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\na,n1\nb,n2\nc,n3\n")
    for name, content in (
        ("map.json", '{"n1": "dog", "n2": "cat", "n3": "dog"}'),
        ("map.csv", "label,class\nn1,dog\nn3,dog\nn2,cat\n"),
        ("map.tsv", "n1\tdog\nn3\tdog\nn2\tcat\nn9\telk\n"),
    ):
        (tmp_path / name).write_text(content)
        data = load_data(str(tmp_path / "t.csv"), label_map=tmp_path / name)
        assert as_named(data) == ["dog", "cat", "dog"]
        assert data.report is not None and data.report.rows["all"] == {"dog": 2, "cat": 1}
    (tmp_path / "map.csv").write_text("n1,dog\nn22,cat\nN3,elk")
    with pytest.raises(
        BadInput, match=r"names no class for 2 of the 3 .*: 'n2', 'n3'[^C]*Closest: 'n2' and 'n22'"
    ) as error:
        load_data(str(tmp_path / "t.csv"), label_map=tmp_path / "map.csv")
    assert "upper and lower case" in str(error.value)
    (tmp_path / "map.csv").write_text("n1,dog\nn1,cat")
    with pytest.raises(BadInput, match="gives the label 'n1' two classes"):
        load_data(str(tmp_path / "t.csv"), label_map=tmp_path / "map.csv")


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a,b\n1,2\n", Columns(), "no column of images or texts that is known by its name; it has: a, b"),
        ("text,b\n1,2\n", Columns(), "no column of labels"),
        ("text,image,label\n1,2,3\n", Columns(), r"has images \('image'\) and texts \('text'\)"),
        ("text,label\n1,2\n", Columns(text="words"), "no column 'words'; it has: text, label"),
        ("text,label\n1,\n", Columns(), "1 rows have no value in 'label'"),
        ("text,label\n", Columns(), "has no rows"),
    ],
)
def test_a_table_that_lacks_something_says_what_it_has(
    tmp_path: Path, content: str, columns: Columns, message: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(BadInput, match=message):
        open_source(str(tmp_path / "t.csv"), columns)


def test_examples_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\nno/such.png,a\nhttps://x.org/1.png,b\n,b\n")
    rows = open_source(str(tmp_path / "t.csv")).split("all")
    for i, message in enumerate(("is no file that can be read", "is an address, and nothing is fetched", "no image")):
        with pytest.raises(BadInput, match=message):
            rows.read(i)


def test_columns_of_what_has_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d" / "cat").mkdir(parents=True)
    (tmp_path / "d" / "cat" / "1.png").write_bytes(png(0))
    with pytest.raises(BadInput, match="is no table, and has no column 'x'"):
        open_source(str(tmp_path / "d"), Columns(label="x"))
    with pytest.raises(BadInput, match="an example is an image or a text"):
        Columns(image="a", text="b")


def test_a_hub_that_is_not_there_is_one_message_with_the_local_form(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    began = time.monotonic()
    with pytest.raises(BadInput, match=r"owner/pets cannot be had: .*HF_HUB_OFFLINE(.|\n)*pets/data/train-00000-of"):
        load_data("owner/pets")
    assert time.monotonic() - began < 8
    monkeypatch.setattr(of_hub, "_look", lambda name: "it did not answer within 5 seconds")
    with pytest.raises(BadInput, match="it did not answer within 5 seconds"):
        load_data("owner/pets:config")


def test_a_local_copy_of_a_hubs_repository(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("# pets")
    write(tmp_path / "data" / "train-00000-of-00001.parquet", {"text": ["a", "b"], "label": ["x", "y"]})
    write(tmp_path / "data" / "test-00000-of-00001.parquet", {"text": ["c"], "label": ["y"]})
    data = load_data(str(tmp_path))
    assert as_named(data, "train") == ["x", "y"] and data.split("test").read(0) == "c"


def test_a_copy_that_datasets_kept_is_read_where_the_hub_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    kept = datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]}))
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: kept if name == "owner/pets" else None)
    assert as_named(load_data("hf://datasets/owner/pets"), "train") == ["x", "y"]
