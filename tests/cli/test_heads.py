"""Commands on two models whose heads answer other classes: repaired by name, or told what to do, once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.models.directory import load_model, save_model
from reclaim.models.union import with_rows
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from tests.cli.workshop import CLASSES, FACTORY, SEEN


@pytest.fixture
def own(shop: Path) -> Path:
    """The fine-tuned model with a head for its own classes alone, four times as large, as a directory."""
    after = load_model("after")
    rows, layer = after.columns(SEEN), after.last_layer
    model = replace(with_rows(after, 4 * layer.weight[rows], 4 * layer.bias[rows]), classes=SEEN, seen=None)
    Path("own").mkdir()
    save_model(Path("own"), model)
    return Path("own")


REPAIR = ("repair", "--before", "before", "--data", "target", "--out", "out", "--json")


def test_a_model_with_a_head_of_its_own_is_repaired_to_the_union(own: Path, reclaim) -> None:
    done = reclaim(*REPAIR, "--after", own)
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert f"{len(SEEN)} have the fine-tuned model's row of the head" in done.err
    assert 0 < record["heads"]["scale"] < 1 and record["heads"]["absent"] == len(CLASSES) - len(SEEN)
    assert record["after"]["accuracy"]["absent"] == 0 and record["after"]["tradeoff"]["area"] is None
    assert record["repaired"]["accuracy"]["all"] > record["after"]["accuracy"]["all"]
    assert "joined" in Path("out/report.html").read_text()
    made = load_model("out")
    assert made.classes == CLASSES and set(made.seen or ()) == set(SEEN)
    predicted = reclaim("predict", "--model", "out", "--data", "target", "--split", "test", "--out", "o.safetensors")
    assert predicted.code == 0, predicted.err
    rows = load_snapshot(Path("o.safetensors"))
    right = float((rows.logits.argmax(dim=1) == rows.known_labels).double().mean())
    assert right == pytest.approx(record["repaired"]["accuracy"]["all"])


def test_names_are_given_in_files_or_with_commas(own: Path, reclaim) -> None:
    expected = json.loads(reclaim(*REPAIR, "--after", own).out)
    Path("names.txt").write_text("\n".join(CLASSES))
    files = f"plain/{FACTORY}@before/model.safetensors", f"plain/{FACTORY}@own/model.safetensors"
    named = ("--before-classes", "names.txt", "--after-classes", ",".join(SEEN))
    done = reclaim("repair", "--before", files[0], "--after", files[1], *named, *REPAIR[3:], "--force")
    assert done.code == 0, done.err
    assert json.loads(done.out)["repaired"]["accuracy"] == expected["repaired"]["accuracy"]
    wrong = reclaim(*REPAIR, "--after", own, "--force", "--after-classes", "a,b")
    assert wrong.code == 2 and not wrong.out and "2 class names were given" in wrong.err


def test_other_commands_say_where_the_heads_are_joined(own: Path, reclaim) -> None:
    merged = reclaim("merge", "interpolation", "--before", "before", "--after", own, "--out", "m")
    predicted = reclaim("predict", "--model", own, "--data", "target", "--split", "test", "--out", "p.safetensors")
    rows = load_snapshot(Path("after-test.safetensors")).seen_rows()
    columns = torch.tensor([rows.classes.index(name) for name in SEEN])
    labels = torch.tensor([SEEN.index(rows.classes[y]) for y in rows.known_labels.tolist()])
    z = rows.logits[:, columns]
    every = torch.ones(len(SEEN), dtype=torch.bool)
    save_snapshot(
        Path("s.safetensors"), replace(rows, logits=z, labels=labels, seen=every, classes=SEEN, features=None)
    )
    diagnosed = reclaim("diagnose", "before-test.safetensors", "s.safetensors")
    answers = reclaim("repair", "--before", "before-test.safetensors", "--after", "s.safetensors", "--out", "a")
    for done in (merged, predicted, diagnosed, answers):
        assert done.code == 2 and not done.out and "repair" in done.err and "joins" in done.err, done.err
    assert not any(Path(name).exists() for name in ("m", "p.safetensors", "a"))
