"""Columns of tables: labels that are names, groups, splits, and what is refused of each."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclaim.core.errors import BadInput, BadKind
from reclaim.data.guesses import Columns
from reclaim.data.load import load_data, open_source
from reclaim.data.records import Data

X = np.arange(6.0)
LABEL = np.array([1, 0, 1, 2, 0, 2])


def opened(tmp_path: Path, *, group_column: str | None = None, **columns: object) -> Data:
    np.savez(tmp_path / "d.npz", **({"x": X, "label": LABEL} | columns))  # type: ignore[arg-type]
    return open_source(str(tmp_path / "d.npz"), Columns(group=group_column))


def parquet(tmp_path: Path, **columns: list[object]) -> str:
    datasets = pytest.importorskip("datasets")
    images = [Image.new("L", (2, 2), 10 * i) for i in range(len(next(iter(columns.values()))))]
    made = datasets.Dataset.from_dict({"image": images, **columns})
    made.cast_column("image", datasets.Image()).to_parquet(tmp_path / "d.parquet")
    return str(tmp_path / "d.parquet")


def test_a_row_without_a_split_is_refused_and_not_put_into_one_called_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="2 rows have no value in 'split', the first of them row 1"):
        load_data(parquet(tmp_path, label=[0, 1, 0, 1], split=["train", None, "val", None]))


@pytest.mark.parametrize("kind", ["U3", "S3"])
def test_labels_may_be_names_of_classes(tmp_path: Path, kind: str) -> None:
    data = opened(tmp_path, label=np.array(["cat", "ant", "cat", "dog", "ant", "dog"], dtype=kind))
    assert data.classes == ("ant", "cat", "dog") and data.split("all").labels.tolist() == [1, 0, 1, 2, 0, 2]
    data = opened(tmp_path, label=np.array(["cat", "ant"] * 3, dtype=kind), classes=["dog", "cat", "ant"])
    assert data.classes == ("dog", "cat", "ant") and data.split("all").labels.tolist() == [1, 2] * 3


def test_labels_that_are_numbers_in_text_come_in_their_order(tmp_path: Path) -> None:
    data = opened(tmp_path, label=np.array(["10", "9", "10", "2", "9", "2"]))
    assert data.classes == ("2", "9", "10") and data.split("all").labels.tolist() == [2, 1, 2, 0, 1, 0]


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i8"])
def test_whole_numbers_of_any_width_are_labels(tmp_path: Path, kind: str) -> None:
    assert opened(tmp_path, label=LABEL.astype(kind)).split("all").labels.tolist() == LABEL.tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"label": np.array(["a", "", "a", "b", "a", "b"])},
            "1 rows have no value in 'label', the first of them row 1",
        ),
        ({"label": np.array(["a", "b"] * 3), "classes": ["b", "c"]}, "labels that are none of the 2 classes: a"),
        ({"label": np.array(["cat", "Cat "] * 3)}, "look alike"),
        ({"label": np.array(["1", "01"] * 3)}, "leading zeros"),
        ({"label": LABEL[:, None]}, r"'label' must be one value per row; its shape is \[6, 1\]"),
        ({"label": np.int64(3)}, "its shape is"),
        ({"label": LABEL.astype(np.int64) << 60}, "would make that many classes"),
        ({"label": LABEL.astype(np.uint64) << np.uint64(62)}, r"below 2\^63"),
        ({"label": LABEL - 1}, "label -1"),
        ({"x": np.float64(1)}, "no examples and 6 labels"),
        ({"split": ["train"] * 5}, "'split' holds 5 texts, and there are 6 rows"),
        ({"split": ["train", "", "val"] * 2}, "no value in 'split'"),
        ({"split": ["val", "valid"] * 3}, "two names for the split 'val'"),
        ({"names": ["a"] * 7}, "'names' holds 7 texts"),
        ({"classes": np.frombuffer(b"a\nb\n\xff", dtype=np.uint8)}, "'classes' is not UTF-8"),
        ({"groups": LABEL[:4]}, "'groups' must be one value for each of 6 rows"),
        ({"groups": np.array(["a", "b", ""] * 2)}, "2 rows have no value in 'groups', the first of them row 2"),
        ({"groups": LABEL - 1}, "numbered from 0"),
    ],
)
def test_columns_that_lack_something_are_refused(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        opened(tmp_path, **columns)


@pytest.mark.parametrize("offset", [[0.0, 2, 4], [0, 4, 2], [-1, 2, 4], [0, 2, 9], ["a"] * 3, [[0, 2, 4]], 3, []])
def test_offsets_that_cut_nothing_are_refused(tmp_path: Path, offset: object) -> None:
    np.savez(tmp_path / "d.npz", png=np.zeros(4, np.uint8), label=[0, 1], offset=np.array(offset))
    with pytest.raises(BadInput, match=r"not whole|end to end"):
        open_source(str(tmp_path / "d.npz"))
    np.savez(tmp_path / "d.npz", png=np.zeros(4), label=[0, 1], offset=[0, 2, 4])
    with pytest.raises(BadInput, match="are bytes"):
        open_source(str(tmp_path / "d.npz"))


def test_splits_are_known_by_their_other_names(tmp_path: Path) -> None:
    data = opened(tmp_path, split=["Training", "Training", "valid", "Testing", "fold 1", "fold 1"])
    assert list(data.splits) == ["train", "val", "test", "fold 1"] and data.seen.tolist() == [True, True, False]
    assert data.report is not None and data.report.rows["fold 1"] == {"0": 1, "2": 1}


def test_a_column_of_groups_is_named(tmp_path: Path) -> None:
    patients, wards = np.array(["p2", "p1", "p2", "p3", "p3", "p1"]), np.array([0, 0, 0, 1, 1, 1], dtype=np.uint16)
    columns = {"patient": patients, "groups": wards}
    rows = opened(tmp_path, **columns, group_column="patient").split("all")
    assert rows.groups is not None and [rows.group_names[i] for i in rows.groups] == patients.tolist()
    rows = opened(tmp_path, **columns).split("all")
    assert rows.groups is not None and rows.groups.tolist() == wards.tolist()
    assert opened(tmp_path, patient=patients).split("all").groups is None
    with pytest.raises(BadInput, match="no column 'ward'; it has: label, patient, x") as refused:
        opened(tmp_path, patient=patients, group_column="ward")
    assert "group_column=" in str(refused.value)
    with pytest.raises(BadKind, match="whole numbers"):
        opened(tmp_path, patient=X, group_column="patient")


@pytest.mark.parametrize("source", ["folder", "digits"])
def test_what_has_no_columns_has_no_groups(tmp_path: Path, source: str) -> None:
    (tmp_path / "ant").mkdir()
    with pytest.raises(BadInput, match="is no table, and has no column 'patient'"):
        open_source(str(tmp_path) if source == "folder" else source, Columns(group="patient"))


def test_groups_in_two_splits_are_said(tmp_path: Path) -> None:
    split, patient = ["train", "train", "val", "val", "test", "test"], ["a", "b", "b", "c", "d", "a"]
    data = opened(tmp_path, split=split, patient=patient, group_column="patient")
    assert data.report is not None and data.report.notes == (
        "1 groups have rows in train and in val (b)",
        "1 groups have rows in train and in test (a)",
    )
    with pytest.warns(UserWarning, match=r"in train and in val \(b\)"):
        load_data(str(tmp_path / "d.npz"), group_column="patient")
    whole = opened(tmp_path, split=split, patient=["a", "a", "b", "b", "c", "c"], group_column="patient")
    assert whole.report is not None and not whole.report.notes


def test_a_parquet_file_has_the_same_columns(tmp_path: Path) -> None:
    columns = {
        "label": ["cat", "ant", "cat"],
        "patient": [5, 5, 6],
        "split": ["training", "validation", "training"],
    }
    data = open_source(parquet(tmp_path, **columns), Columns(group="patient"))  # type: ignore[arg-type]
    assert data.classes == ("ant", "cat") and data.seen.tolist() == [False, True]
    train = data.split("train")
    assert train.groups is not None and train.groups.tolist() == [5, 6] and train.labels.tolist() == [1, 1]
    assert data.report is not None and data.report.notes == ("1 groups have rows in train and in val (5)",)
    for column, values in {"label": ["a", None, "b"], "patient": [1, None, 2]}.items():
        with pytest.raises(BadInput, match=f"1 rows have no value in '{column}', the first of them row 1"):
            open_source(parquet(tmp_path, **(columns | {column: values})), Columns(group="patient"))  # type: ignore[arg-type]
    with pytest.raises(BadKind, match="whole numbers"):
        open_source(parquet(tmp_path, label=[0.5, 1.0]))


def test_a_parquet_file_opens_no_special_file_and_says_what_row_has_no_image(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(decode=False), "label": datasets.Value("int64")})
    images = [{"bytes": None, "path": "/dev/zero"}, None]
    made = datasets.Dataset.from_dict({"image": images, "label": [0, 1]}, features=features)
    made.to_parquet(tmp_path / "d.parquet")
    rows = open_source(str(tmp_path / "d.parquet")).split("all")
    with pytest.raises(BadInput, match=r"row 0 .* is no file"):
        rows.read(0)
    with pytest.raises(BadInput, match="row 1 has no image"):
        rows.read(1)


def test_numbers_that_begin_above_zero_are_said_where_they_have_no_names(tmp_path: Path, caplog) -> None:
    for labels, names, said in (
        ([1, 2], None, 1),
        ([3, 4], None, 3),
        ([0, 2], None, None),
        ([1, 2], ["a", "b", "c"], None),
    ):
        caplog.clear()
        more = {} if names is None else {"classes": np.array(names)}
        np.savez(tmp_path / "d.npz", image=np.zeros((2, 4, 4), np.uint8), label=np.array(labels), **more)
        data = open_source(str(tmp_path / "d.npz"))
        assert data.split("all").labels.tolist() == labels and len(data.classes) == (max(labels) + 1 if said else 3)
        line = (
            f"the labels of {tmp_path / 'd.npz'} begin with {said} and have no names: no row is of the classes before"
        )
        assert [record.getMessage() for record in caplog.records] == ([f"{line} it."] if said else [])
