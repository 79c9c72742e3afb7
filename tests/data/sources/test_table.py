"""Tables: one file with all examples."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclaim.core.errors import BadInput, BadKind
from reclaim.data.load import load_data

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 1, 0, 2], dtype=np.int16)


def encoded() -> tuple[np.ndarray, np.ndarray]:
    """The pictures as PNG end to end, and where each begins."""
    parts = []
    for picture in PICTURES:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        parts.append(np.frombuffer(buffer.getvalue(), dtype=np.uint8))
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])


def test_encoded_images_are_decoded_one_by_one(tmp_path: Path) -> None:
    stream, offset = encoded()
    names = np.frombuffer("\n".join(f"p{i}.png" for i in range(6)).encode(), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", png=stream, offset=offset, label=LABELS, classes=["a", "b", "c"], names=names)
    rows = load_data(str(tmp_path / "d.npz")).split("all")
    assert all(np.array_equal(np.asarray(rows.read(i)), PICTURES[i]) for i in range(6))
    assert rows.labels.tolist() == LABELS.tolist() and rows.name(3) == "d.npz, row 3 (p3.png)"


def test_a_broken_image_among_them_is_named(tmp_path: Path) -> None:
    stream, offset = encoded()
    stream = stream.copy()
    stream[offset[4] : offset[4] + 60] = 0
    np.savez(tmp_path / "d.npz", png=stream, offset=offset, label=LABELS)
    rows = load_data(str(tmp_path / "d.npz")).split("all")
    with pytest.raises(BadInput, match=r"d\.npz, row 4 cannot be read"):
        rows.read(4)
    rows.read(3)


@pytest.mark.parametrize(("key", "values"), [("image", PICTURES), ("x", np.random.default_rng(0).normal(size=(6, 3)))])
def test_arrays_are_taken_as_they_are(tmp_path: Path, key: str, values: np.ndarray) -> None:
    np.savez(tmp_path / "d.npz", label=LABELS, **{key: values})
    data = load_data(str(tmp_path / "d.npz"))
    assert np.array_equal(data.split("all").read(3), values[3]) and data.classes == ("0", "1", "2")


def test_a_column_of_splits_divides_the_rows(tmp_path: Path) -> None:
    split = np.array(["train", "train", "val", "val", "train", "val"])
    np.savez(tmp_path / "d.npz", x=np.arange(6.0), label=np.array([1, 0, 1, 2, 0, 2]), split=split)
    data = load_data(str(tmp_path / "d.npz"))
    assert data.split("val").labels.tolist() == [1, 2, 2] and data.seen.tolist() == [True, True, False]


def test_broken_tables_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"

    def refused(message: str, kind: type[Exception] = BadInput, **arrays: object) -> None:
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(kind, match=message):
            load_data(str(path))

    refused("none of label, labels, y; it has: x", x=np.zeros(3))
    refused("none of image, images, x, data", label=LABELS)
    refused("6 examples and 5 labels", image=PICTURES, label=LABELS[:5])
    refused("whole numbers", BadKind, image=PICTURES, label=LABELS.astype(float), classes=["a", "b", "c"])
    refused("label 2 in row 0 is out of range", image=PICTURES, label=LABELS, classes=["a", "b"])
    refused("given more than once: a", image=PICTURES, label=LABELS, classes=["a", "b", "a"])
    stream, offset = encoded()
    refused("not whole: 6 labels, 7 offsets", png=stream[:-9], offset=offset, label=LABELS)


def test_a_parquet_file_as_datasets_writes_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    rows = {"image": [Image.fromarray(picture) for picture in PICTURES], "label": LABELS.tolist()}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "d.parquet")
    data = load_data(str(tmp_path / "d.parquet"))
    assert data.classes == ("a", "b", "c") and data.split("all").labels.tolist() == LABELS.tolist()
    assert all(np.array_equal(np.asarray(data.split("all").read(i)), PICTURES[i]) for i in range(6))
    (tmp_path / "d.parquet").write_bytes((tmp_path / "d.parquet").read_bytes()[:200])
    with pytest.raises(BadInput, match="not a readable Parquet file"):
        load_data(str(tmp_path / "d.parquet"))
    datasets.Dataset.from_dict({"text": ["x"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(BadInput, match="no column of labels that is known by its name; it has: text"):
        load_data(str(tmp_path / "t.parquet"))
