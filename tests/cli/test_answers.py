"""`reclaim repair` of two snapshots, and `reclaim apply` of what it wrote."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.repairs.choices import Choices
from reclaim.repairs.files import load_mixture
from reclaim.repairs.mixtures import mixed
from reclaim.repairs.rows import divide_rows
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot
from tests.cli.workshop import snapshot_npz

VAL = ("--before", "before-val.safetensors", "--after", "after-val.safetensors")
TEST = "before-test.safetensors,after-test.safetensors"
REPAIR = ("repair", *VAL, "--out", "out")
FILES = ["mixture.json", "repaired.safetensors", "report.html", "run.json"]


def answers(name: str):
    """The snapshot of that name."""
    return load_snapshot(Path(f"{name}.safetensors"))


# --- repair, apply


def test_two_snapshots_become_a_mixture_that_beats_both(shop: Path, reclaim) -> None:
    done = reclaim(*REPAIR, "--report", TEST, "--json")
    assert done.code == 0, done.err
    record = done.json
    assert sorted(p.name for p in Path("out").iterdir()) == FILES
    assert json.loads(Path("out/run.json").read_text()) == record
    accuracy = {name: record[name]["accuracy"]["all"] for name in ("before", "after", "repaired")}
    assert accuracy["repaired"] > max(accuracy["before"], accuracy["after"])
    assert {"offset", "selector", "reason", "evidence", "guarantee", "shifts", "mix", "findings"} <= set(record)
    mixture, repaired = load_mixture(Path("out/mixture.json")), load_snapshot(Path("out/repaired.safetensors"))
    assert record["alpha"] == record["mix"]["alpha"] == mixture.alpha and record["seed"] == 0
    assert record["offset"] == mixture.offset.offset
    assert evaluate(repaired).accuracy.all == accuracy["repaired"]
    before, after = answers("before-test"), answers("after-test")
    by_hand = mixed(before.logits, after.logits, mixture.alpha) + torch.tensor(mixture.offset.shifts)
    torch.testing.assert_close(repaired.logits, by_hand + mixture.offset.offset * ~after.seen)
    assert torch.equal(repaired.labels, after.labels) and repaired.classes == after.classes
    page = Path("out/report.html").read_text()
    assert all(f'class="line line-{name}"' in page for name in ("before", "after", "repaired"))
    assert "of the logarithmic probabilities are the pretrained model" in page


def test_without_report_rows_those_given_are_divided(shop: Path, reclaim) -> None:
    done = reclaim(*REPAIR, "--held-out", 0.6, "--seed", 3, "--json")
    assert done.code == 0, done.err
    after = answers("after-val")
    chooses, reports = divide_rows(after, after.seen[after.labels], Choices(held_out=0.6, seed=3))
    assert done.json["mix"]["rows"] == len(chooses) and done.json["repaired"]["n"] == len(reports) == 60
    assert torch.equal(load_snapshot(Path("out/repaired.safetensors")).labels, reports.labels)


def test_apply_makes_of_new_rows_what_repair_reported(shop: Path, reclaim) -> None:
    assert reclaim(*REPAIR, "--report", TEST).code == 0
    save_snapshot(Path("turned"), (rows := answers("before-test")).reordered(rows.classes[::-1]))
    expected = load_snapshot(Path("out/repaired.safetensors"))
    for before in ("before-test.safetensors", "turned"):
        done = reclaim("apply", "out/mixture.json", "after-test.safetensors", "--before", before, "--out", before[:3])
        assert done.code == 0, done.err
        made = load_snapshot(Path(before[:3]))
        assert torch.equal(made.logits, expected.logits) and torch.equal(made.labels, expected.labels)
        assert Path(f"{before[:3]}.run.json").exists()
    judged = reclaim("evaluate", "bef", "--json").json
    assert judged["accuracy"] == json.loads(Path("out/run.json").read_text())["repaired"]["accuracy"]


def test_apply_needs_no_labels(shop: Path, reclaim) -> None:
    assert reclaim(*REPAIR, "--report", TEST).code == 0
    for name in ("before", "after"):
        save_snapshot(Path(name[0]), answers(f"{name}-test").unlabelled())
    done = reclaim("apply", "out/mixture.json", "a", "--before", "b", "--out", "made")
    assert done.code == 0, done.err
    made = load_snapshot(Path("made"))
    assert made.labels is None and torch.equal(made.logits, load_snapshot(Path("out/repaired.safetensors")).logits)


def test_the_models_may_be_built_differently_and_come_from_elsewhere(shop: Path, reclaim) -> None:
    expected = reclaim(*REPAIR, "--report", TEST, "--json").json
    rows = answers("before-val")
    save_snapshot(Path("wide"), replace(rows, features=torch.cat([rows.features, rows.features], dim=1)))
    wide = reclaim("repair", "--before", "wide", *VAL[2:], "--report", TEST, "--out", "a", "--json")
    assert wide.code == 0, wide.err
    arrays = snapshot_npz(Path("before.npz"), rows, classes=rows.classes)
    found = reclaim("repair", "--before", arrays, *VAL[2:], "--report", TEST, "--out", "b", "--json")
    assert found.code == 0, found.err
    assert wide.json["repaired"] == found.json["repaired"] == expected["repaired"]


def test_repair_says_in_words_what_it_did_to_answers(shop: Path, reclaim) -> None:
    done = reclaim(*REPAIR)
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    for word in ("before", "after", "repaired", "Mixing:", "logarithmic probabilities", "Offset:", "Guarantee:",
                 "the mixture and the report: out"):  # fmt: skip
        assert word in words


def test_the_former_name_of_a_flag_is_understood(shop: Path, reclaim) -> None:
    given = (*REPAIR[:-1], "a", "--report", TEST, "--json", "--force")
    now, then = (reclaim(*given, flag, 0.2).json for flag in ("--class-shifts", "--class-balance"))
    assert now["shifts"] == then["shifts"] != reclaim(*given).json["shifts"]


def test_choices_and_numbers_of_selectors_are_flags_beside_snapshots_too(shop: Path, reclaim) -> None:
    common = (*REPAIR[:-1], "a", "--report", TEST, "--mix", 1, "--class-balance", 0, "--json", "--force")
    small, large = (reclaim(*common, "--budget", budget).json for budget in (0.02, 0.3))
    assert small["offset"] < large["offset"] and small["guarantee"].startswith("seen accuracy falls by at most 0.02")
    assert small["alpha"] == 1.0 and small["shifts"] == []
    assert reclaim(*REPAIR, "--prefer", "seen", "--json").json["guarantee"] is None


@pytest.mark.parametrize(
    ("kind", "select"), [("unlabelled", "rate-matching"), ("source", "source-data"), ("labelled", "labelled")]
)
def test_more_evidence_is_two_more_snapshots(shop: Path, reclaim, kind: str, select: str) -> None:
    done = reclaim(*REPAIR, f"--{kind}", TEST, "--select", select, "--json")
    assert done.code == 0, done.err
    assert done.json["evidence"] == {kind: 125}


def test_models_are_still_models_where_one_stands_in_their_directory(shop: Path, reclaim, monkeypatch) -> None:
    monkeypatch.chdir(Path("after"))
    done = reclaim("repair", "--before", shop / "before", "--after", ".", "--data", shop / "target", "--mix", 1,
                   "--out", shop / "out", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["mix"]["alpha"] == 1.0


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--before", "before", *VAL[2:]), "after-val.safetensors is a snapshot, and before is not: give two models"),
        ((*VAL[:2], "--after", "after"), "before-val.safetensors is a snapshot, and after is not: give two models"),
        ((*VAL[:2], "--after", "nowhere"), "before-val.safetensors is a snapshot, and nowhere is not"),
        (("--before", "befor.safetensors", *VAL[2:]), "there is no file befor.safetensors"),
        (("--before", "befor.npz", "--after", "aftr.npz"), "there is no file befor.npz"),
        ((*VAL, "--data", "target"), "--data: only for models, but before-val.safetensors and after-val"),
        ((*VAL, "--seen", "one", "--skip-bad"), "--skip-bad: only for models"),
        ((*VAL, "--image-size", "8"), "--image-size, --mean, --std, --head or --weights: only for models"),
        ((*VAL, "--select", "pseudo-cross-validation"), "--select pseudo-cross-validation: only for models"),
        (("--before", "before", "--after", "after", "--data", "target", "--report", TEST),
         "--report: only for snapshots, but before and after are models"),
        (("--before", "before", "--after", "after"), "say --data DATA. Two snapshots need none"),
        ((*VAL, "--unlabelled", "after-test.safetensors"), "--unlabelled takes two snapshots, BEFORE,AFTER"),
        ((*VAL, "--report", "a,b,c"), "--report takes two snapshots, BEFORE,AFTER"),
        ((*VAL, "--report", "before-test.safetensors,nowhere"), "there is no file nowhere"),
        ((*VAL[:2], "--after", "after-test.safetensors"), "the two snapshots hold different rows (150 and 125)"),
        ((*VAL, "--mix", "1.5"), "between 0 and 1; given: 1.5"),
        ((*VAL, "--held-out", "0"), "between 0 and 1; given: 0"),
        ((*VAL, "--select", "magic"), "no selector called 'magic'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_snapshots_and_flags_that_do_not_go_together(shop: Path, reclaim, arguments: tuple, message: str) -> None:
    done = reclaim("repair", *arguments, "--out", "out")
    assert done.code == 2 and not done.out, done
    assert done.err.startswith("reclaim: ") and message in done.err and done.err.count("reclaim: ") == 1, done.err
    assert "Traceback" not in done.err and not Path("out").exists()


def test_rows_that_hold_nothing_to_choose_or_report_by(shop: Path, reclaim) -> None:
    for name in ("before", "after"):
        rows = answers(f"{name}-val")
        save_snapshot(Path(name[0]), rows.unlabelled())
        save_snapshot(Path(f"{name[0]}-seen"), replace(rows, seen=torch.ones(10) > 0))
    for names, message in ((("b", "a"), "have no labels"), (("b-seen", "a-seen"), "no class is absent")):
        done = reclaim("repair", "--before", names[0], "--after", names[1], "--out", "out")
        assert done.code == 2 and message in done.err and not Path("out").exists(), done
    done = reclaim(*REPAIR, "--report", "b,a")
    assert done.code == 2 and "needs labelled rows" in done.err and not Path("out").exists(), done


def test_an_output_that_exists_is_kept_without_force(shop: Path, reclaim) -> None:
    Path("out").mkdir()
    Path("out/precious").touch()
    done = reclaim(*REPAIR)
    assert done.code == 2 and "out exists already" in done.err and "--force" in done.err
    assert reclaim(*REPAIR, "--mix", 1.5, "--force").code == 2  # nor is it lost by a command that fails
    assert [p.name for p in Path("out").iterdir()] == ["precious"]
    assert reclaim(*REPAIR, "--force").code == 0
    assert sorted(p.name for p in Path("out").iterdir()) == FILES
    assert not [p for p in Path().iterdir() if p.name.startswith(".")]


def test_apply_wants_both_models_for_a_mixture_and_one_for_a_calibrator(shop: Path, reclaim) -> None:
    assert reclaim(*REPAIR, "--report", TEST).code == 0
    assert reclaim("calibrate", "logit-offset", "after-val.safetensors", "--out", "c.json").code == 0
    before, after = ("--before", "before-test.safetensors"), "after-test.safetensors"
    for message, arguments in (
        (
            "needs both.\n  Give `reclaim apply` the fine-tuned model's, and the pretrained model's: --before.",
            ("out/mixture.json", after),
        ),
        ("needs both", ("out/mixture.json", "--model", "after")),
        ("c.json mixes no answers", ("c.json", after, *before)),
        ("--before goes with a mixture.json and", ("out/mixture.json", "--model", "after", *before)),
        ("different rows (150 and 125)", ("out/mixture.json", after, *VAL[:2])),
    ):
        done = reclaim("apply", *arguments, "--out", "made")
        assert done.code == 2 and done.err.startswith("reclaim: ") and message in done.err, done
        assert not Path("made").exists() and not Path("made.run.json").exists()
