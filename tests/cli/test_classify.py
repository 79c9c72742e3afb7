"""``reclaim classify``: plain files in, classes and probabilities out, and what is on record of such answers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reclaim.models.classify import classify
from reclaim.models.directory import load_model


def images(folder: str = "target/test") -> list[Path]:
    return sorted(Path(folder).rglob("*.png"))[:7]


def test_plain_images_get_what_predict_answers(shop: Path, reclaim) -> None:
    files = images()
    assert (
        reclaim("predict", "--model", "after", "--data", "target", "--split", "test", "--out", "z.safetensors").code
        == 0
    )
    rows = load_file("z.safetensors")
    model = load_model("after")
    p, where = rows["logits"].double().softmax(dim=1)[:7].topk(3)
    expected = [[model.classes[column] for column in row] for row in where.tolist()]
    done = reclaim("classify", *files, "--model", "after", "--top", "3", "--json")
    found = done.json["rows"]
    assert [row["input"] for row in found] == [str(file) for file in files]
    assert [[one["class"] for one in row["top"]] for row in found] == expected
    assert np.allclose([[one["probability"] for one in row["top"]] for row in found], p.numpy(), atol=1e-6)
    assert done.json["on_record"] is None and "is not known: the model has no record" in done.err
    folder = reclaim("classify", files[0].parent, "--model", "after", "--json").json["rows"]
    assert [row["input"] for row in folder] == [str(path) for path in sorted(files[0].parent.iterdir())]
    assert [answer.answer for answer in classify(model, files)] == [row[0] for row in expected]


def test_rows_below_a_probability_are_left_unanswered(shop: Path, reclaim) -> None:
    every = reclaim("classify", "target/test", "--model", "after", "--json").json["rows"]
    middle = sorted(row["probability"] for row in every)[len(every) // 2]
    done = reclaim("classify", "target/test", "--model", "after", "--abstain-below", f"{middle:.9f}", "--json")
    for row, before in zip(done.json["rows"], every, strict=True):
        assert row["probability"] == before["probability"]
        assert row["class"] == (before["class"] if row["probability"] >= round(middle, 9) else None)
    assert 0 < done.json["answered"] < len(every)


def test_the_record_of_a_repair_says_what_share_is_answered_and_wrong(shop: Path, reclaim) -> None:
    assert reclaim("repair", "--before", "before", "--after", "after", "--data", "target", "--out", "fixed").code == 0
    predicted = ("predict", "--model", "fixed", "--data", "target", "--split", "test", "--out", "z.safetensors")
    assert reclaim(*predicted).code == 0
    rows = load_file("z.safetensors")
    p, answers = rows["logits"].softmax(dim=1).max(dim=1)
    kept = p >= 0.6
    known = reclaim("classify", *images(), "--model", "fixed", "--abstain-below", "0.605", "--json").json["on_record"]
    assert known["rows"] == len(p) and known["threshold"] == 0.6
    assert known["share"] == pytest.approx(float(kept.double().mean()), abs=0.01)
    assert known["error"] == pytest.approx(float((answers != rows["labels"])[kept].double().mean()), abs=0.02)
    said = reclaim("classify", *images(), "--model", "fixed", "--abstain-below", "0.605").err
    assert f"of the {len(p)} rows that the repair reported on" in said and "were wrong" in said


def test_rows_are_written_as_csv_or_json_lines(shop: Path, reclaim) -> None:
    files = images()
    wanted = reclaim("classify", *files, "--model", "after", "--top", "2", "--json").json["rows"]
    call = ("classify", *files, "--model", "after", "--top", "2")
    assert reclaim(*call, "--out", "a.csv").code == 0 and reclaim(*call, "--out", "a.jsonl").code == 0
    with Path("a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["class"] for row in table] == [row["class"] for row in wanted]
    assert [row["class_2"] for row in table] == [row["top"][1]["class"] for row in wanted]
    assert [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()] == wanted
    assert json.loads(Path("a.csv.run.json").read_text())["rows"] == 7
    assert reclaim(*call, "--format", "jsonl").out == Path("a.jsonl").read_text()
    assert wanted[0]["class"] in reclaim(*call).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "missing: FILES"),
        (("nowhere.png",), "there is no file or folder nowhere.png"),
        (("after-val.safetensors",), "is neither an image, nor a table"),
        (("lines.txt",), "lines.txt:1: "),
        (("empty",), "hold nothing to classify"),
        (("broken.png",), "broken.png cannot be read as an image"),
        (("target", "--out", "x.json"), r"its suffix says JSON"),
        (("target", "--out", "x.csv", "--format", "jsonl"), "its suffix says a table in text"),
        (("target", "--out", "x"), "Name it x.csv or x.jsonl"),
        (("target", "--abstain-below", "1.5"), "between 0 and 1"),
    ],
)
def test_what_cannot_be_classified_is_one_message(shop: Path, reclaim, words: tuple[str, ...], message: str) -> None:
    Path("lines.txt").write_text("hello\n")
    Path("broken.png").write_bytes(b"no image")
    Path("empty").mkdir()
    done = reclaim("classify", *words, "--model", "after")
    assert done.code == 2 and message in done.err and not done.out and "Traceback" not in done.err


def test_unreadable_images_are_left_out_and_listed(shop: Path, reclaim) -> None:
    Path("broken.png").write_bytes(b"no image")
    done = reclaim("classify", "broken.png", images()[0], "--model", "after", "--skip-bad", "--json")
    assert len(done.json["rows"]) == 1 and "left out, because it cannot be read: broken.png" in done.err


def test_arrays_of_logits_in_every_command_that_takes_a_snapshot(shop: Path, reclaim) -> None:
    for model in ("before", "after"):
        rows = load_file(f"{model}-val.safetensors")
        np.save(f"{model}.npy", rows["logits"].numpy())
        torch.save(rows["logits"], f"{model}.pt")
    np.save("y.npy", rows["labels"].numpy())
    np.save("seen.npy", rows["seen"].numpy())
    Path("names.txt").write_text("\n".join(load_model("after").classes))
    told = ("--labels", "y.npy", "--seen", "seen.npy", "--classes", "names.txt")
    ours = reclaim("evaluate", "after-val.safetensors", "--json").json
    assert (
        reclaim("evaluate", "after.npy", *told, "--json").json
        == ours
        == reclaim("evaluate", "after.pt", *told, "--json").json
    )
    offset = ("calibrate", "logit-offset", "--select", "gap-matching", "--json")
    wanted = reclaim(*offset, "after-val.safetensors", "--before", "before-val.safetensors").json["offset"]
    assert reclaim(*offset, "after.npy", "--before", "before.npy", *told, "--out", "o.json").json["offset"] == wanted
    warm = ("calibrate", "temperature", "--seen-rows", "--json")
    assert (
        reclaim(*warm, "after.pt", *told).json["temperature"]
        == reclaim(*warm, "after-val.safetensors").json["temperature"]
    )
    assert reclaim("apply", "o.json", "after.npy", "--out", "o.safetensors", *told).code == 0
    wanted = reclaim("evaluate", "o.safetensors", "--json").json["accuracy"]
    assert (
        reclaim("evaluate", "after-val.safetensors", "--calibrator", "o.json", "--same-split", "--json").json[
            "accuracy"
        ]
        == wanted
    )
    found = reclaim("diagnose", "before.npy", "after.npy", *told, "--json").json
    assert len(found["findings"]) == len(
        reclaim("diagnose", "before-val.safetensors", "after-val.safetensors", "--json").json["findings"]
    )
    assert reclaim("report", "before.npy", "after.npy", *told, "--out", "page.html").code == 0
    assert reclaim("repair", "--before", "before.npy", "--after", "after.npy", *told, "--out", "mixed").code == 0
    for words, message in (
        (("evaluate", "after.npy", "--labels", "y.npy"), "--seen"),
        (("evaluate", "after.npy", "--seen", "seen.npy"), "needs labelled rows"),
        (("diagnose", "before-val.safetensors", "after-val.safetensors", "--seen", "one"), "say their seen themselves"),
        (("apply", "o.json", "after.npy", "--out", "x.csv", *told), "its suffix says a table in text"),
        (("calibrate", "temperature", "after.npy", *told, "--out", "x.npz"), "its suffix says NumPy arrays"),
        (("report", "before.npy", "after.npy", *told, "--out", "x.json"), "its suffix says JSON"),
    ):
        done = reclaim(*words)
        assert done.code == 2 and message in done.err and not done.out, (words, done.err)
