"""What commands say and write down of the data they open."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclaim.snapshots.reading import load_snapshot
from tests.cli.workshop import CLASSES, FACTORY, SEEN

PREDICT = ("predict", "--model", "after", "--split", "test", "--out", "o.safetensors", "--force")


def run_json(path: str = "o.safetensors.run.json") -> dict:
    (record,) = json.loads(Path(path).read_text())["data"]
    return record


@pytest.fixture
def photos(shop: Path) -> Path:
    """A few of the pictures, with what lies in folders beside them."""
    for split in ("train", "val", "test"):
        for name in CLASSES if split == "test" else SEEN:
            for file in sorted((shop / "target" / split / name).iterdir())[:4]:
                to = shop / "photos" / split / name / file.name
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, to)
    return shop / "photos"


def test_a_clean_folder_is_one_line_beside_the_result(photos: Path, reclaim) -> None:
    rows = len(list((photos / "test").rglob("*.png")))
    for more, said in (((), True), (("--json",), False), (("--quiet",), False)):
        done = reclaim(*PREDICT, "--data", "photos", *more)
        assert done.code == 0 and (done.err == "") == (not said), done.err
        assert not said or (done.err.count("\n") == 1 and f"test {rows}" in done.err and "left out" not in done.err)
        assert "photos: " not in done.out
    record = run_json()
    assert record["source"] == "photos" and not record["left_out"] and sum(record["rows"]["test"].values()) == rows
    assert record["rows"]["train"].keys() == set(SEEN) and record["folders"] == {s: s for s in ("train", "val", "test")}


def test_what_was_left_out_is_said_and_written_down(photos: Path, reclaim) -> None:
    (photos / "test" / "one" / ".cache").mkdir()
    hidden = reclaim(*PREDICT, "--data", "photos")
    assert "left out: 1 hidden" in hidden.err and "left out" not in reclaim(*PREDICT, "--data", "photos", "--quiet").err
    for i in range(120):
        (photos / "test" / "one" / f"{i:03}.heic").write_text("x")
    (photos / "extra").mkdir()
    done = reclaim(*PREDICT, "--data", "photos", "--quiet", "--json")
    assert done.code == 0 and done.json["rows"] == len(load_snapshot(Path("o.safetensors")))
    assert (
        "1 folders beside the splits (extra)" in done.err and "120 with the suffix .heic (test/one/000.heic" in done.err
    )
    left = {one["why"]: one for one in run_json()["left_out"]}
    assert left["with the suffix .heic"]["count"] == 120 and len(left["with the suffix .heic"]["names"]) == 100
    assert left["hidden"]["names"] == ["test/one/.cache"]


def test_every_command_that_reads_data_writes_it_down(photos: Path, reclaim) -> None:
    (photos / "val" / SEEN[0] / "x.heic").write_text("x")
    tune = ("tune", "linear-probe", "--model", "before", "--data", "photos", "--out", "tuned")
    repair = ("repair", "--before", "before", "--after", "after", "--data", "photos", "--out", "fixed", "--mix", 1)
    repair += ("--select", "gap-matching", "--class-shifts", 0)
    for command, out in ((tune, "tuned"), (repair, "fixed")):
        done = reclaim(*command)
        assert done.code == 0, done.err
        assert "1 with the suffix .heic" in done.err
        assert run_json(f"{out}/run.json")["left_out"][0]["why"] == "with the suffix .heic"


def test_left_out_unreadable_examples_are_in_the_record(photos: Path, reclaim) -> None:
    broken = sorted((photos / "test" / "two").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:40])
    done = reclaim(*PREDICT, "--data", "photos", "--skip-bad")
    assert done.code == 0 and f"left out: photos/test/two/{broken.name}" in done.err
    (left,) = run_json()["left_out"]
    assert left == {"why": "unreadable", "count": 1, "names": [f"photos/test/two/{broken.name}"]}


def test_a_folder_under_another_name_is_refused_in_one_message(photos: Path, reclaim) -> None:
    (photos / "test").rename(photos / "holdout")
    done = reclaim(*PREDICT, "--data", "photos")
    assert done.code == 2 and done.err.startswith("reclaim: photos/holdout holds images in folders of classes")
    (photos / "holdout").rename(photos / "Testing")
    assert reclaim(*PREDICT, "--data", "photos").code == 0
    assert run_json()["folders"]["test"] == "Testing"


def test_names_that_are_guessed_are_said_each_time(photos: Path, reclaim) -> None:
    nameless = (*PREDICT[:2], f"plain/{FACTORY}@after", *PREDICT[3:])
    Path("names.txt").write_text("\n".join(CLASSES))
    shutil.copytree("after", "weights")
    record = json.loads(Path("weights/reclaim.json").read_text())
    Path("weights/reclaim.json").unlink()
    assert record["classes"] == list(CLASSES)
    nameless = (*PREDICT[:2], f"plain/{FACTORY}@weights/model.safetensors", *PREDICT[3:], "--data", "photos", "--quiet")
    for _ in range(2):
        done = reclaim(*nameless)
        assert done.code == 0 and done.err.count("\n") == 1
        assert (
            "no names: it is guessed that they are the 10 classes of the data in their order, eight, five" in done.err
        )
        assert "(10 in all); name them with --classes FILE, one name per line." in done.err
    assert reclaim(*nameless, "--classes", "names.txt").err == ""


def test_orientation_is_said_counted_and_applied_on_demand(photos: Path, reclaim) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = load_snapshot_of(reclaim, "photos")
    for file in (photos / "test").rglob("*.png"):
        with Image.open(file) as image:
            turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(file, exif=exif)
    done = reclaim(*PREDICT, "--data", "photos", "--quiet")
    assert done.err.count("\n") == 1 and "has an orientation tag" in done.err and "with --upright." in done.err
    assert run_json()["noticed"] == {"turned": len(upright)}
    stored = load_snapshot(Path("o.safetensors")).logits.numpy()
    assert not np.allclose(stored, upright)
    assert reclaim(*PREDICT, "--data", "photos", "--upright").code == 0
    np.testing.assert_array_equal(load_snapshot(Path("o.safetensors")).logits.numpy(), upright)


def load_snapshot_of(reclaim, data: str) -> np.ndarray:
    assert reclaim(*PREDICT, "--data", data).code == 0
    return np.array(load_snapshot(Path("o.safetensors")).logits.numpy())


def test_a_group_column_reaches_every_command(photos: Path, reclaim) -> None:
    files = sorted((photos / "test").rglob("*.png"))
    image = np.stack([np.asarray(Image.open(file)) for file in files])
    patient = np.array([f"p{i // 3}" for i in range(len(files))])
    label = np.array([file.parent.name for file in files])
    np.savez("d.npz", image=image, label=label, patient=patient)
    done = reclaim("predict", "--model", "after", "--data", "d.npz", "--split", "all", "--out", "g.safetensors",
                   "--group-column", "patient")  # fmt: skip
    assert done.code == 0, done.err
    rows = load_snapshot(Path("g.safetensors"))
    assert rows.groups is not None and [rows.group_names[i] for i in rows.groups] == patient.tolist()
    assert [rows.classes[i] for i in rows.known_labels] == label.tolist()
    for command in (
        ("predict", "--model", "after", "--split", "all", "--out", "x"),
        ("tune", "linear-probe", "--model", "after", "--out", "x"),
        ("repair", "--before", "before", "--after", "after", "--out", "x"),
    ):
        wrong = reclaim(*command, "--data", "d.npz", "--group-column", "ward")
        assert wrong.code == 2 and "d.npz has no column 'ward'; it has: image, label, patient" in wrong.err
        assert "Name one: --group-column" in wrong.err
        wrong = reclaim(*command, "--data", "photos", "--group-column", "ward")
        assert wrong.code == 2 and "photos is no table" in wrong.err and "Leave out: --group-column" in wrong.err
