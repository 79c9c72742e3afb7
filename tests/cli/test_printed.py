"""What commands print, line by line, and what they write down of themselves, key by key."""

import html
import json
import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reclaim.calibration.files import load_calibrator
from reclaim.cli.commands.demo import _is_a_demo
from reclaim.core.registry import FAMILIES, describe, names
from reclaim.data.load import load_data
from reclaim.models.directory import load_model
from reclaim.papers.demo import Demo, over_seeds, won
from reclaim.repairs.answers import repair_answers
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from reclaim.report.diagnose import diagnose
from reclaim.report.evaluate import evaluate
from reclaim.report.story import sentences
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.writing import save_snapshot

ANSWERS = ("--before", "before-val.safetensors", "--after", "after-val.safetensors")
MODELS = ("--before", "before", "--after", "after", "--data", "target")
ALWAYS = {"command", "versions", "finished", "seconds"}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page on which no line is broken."""
    monkeypatch.setenv("COLUMNS", "400")


def lines(text: str) -> list[str]:
    """The lines with one blank between words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def rows(name: str) -> Any:
    return load_snapshot(Path(f"{name}.safetensors"))


def recorded(place: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(place).read_text())
    return record


def percents(accuracy: Any) -> list[str]:
    names = ("all", "seen", "absent", "seen_among_seen", "absent_among_absent")
    return [f"{100 * getattr(accuracy, name):.1f}" for name in names]


# --- evaluate, diagnose


def test_evaluate_prints_accuracies_the_ceiling_and_what_confidence_is_worth(shop: Path, reclaim) -> None:
    found = evaluate(rows("after-test"))
    said = lines(reclaim("evaluate", "after-test.safetensors").out)
    assert said[0].startswith("accuracy, % all seen absent")
    assert said[1].split() == ["after-test", *percents(found.accuracy), f"{found.tradeoff.area:.3f}"]
    seen, absent = (found.confidence_by_group[name].ece for name in ("seen", "absent"))
    assert said[2:] == [
        f"ceiling on these rows: {100 * found.tradeoff.best_all:.1f} % over all classes, near offset "
        f"{found.tradeoff.best_offset:.2f}",
        f"confidence: negative log-likelihood {found.confidence.nll:.3f}, Brier score {found.confidence.brier:.3f}, "
        f"calibration error {found.confidence.ece:.3f}",
        f"calibration error {seen:.3f} on seen rows, {absent:.3f} on absent rows, {found.group_question.ece:.3f} of "
        "the question whether a row is absent",
    ]


def test_evaluate_leaves_out_what_rows_of_one_group_cannot_tell(shop: Path, reclaim) -> None:
    save_snapshot(Path("whole"), replace(rows("after-test"), seen=torch.ones(10, dtype=torch.bool)))
    said = lines(reclaim("evaluate", "whole").out)
    assert len(said) == 3 and said[1].startswith("whole ") and said[2].startswith("confidence: negative")


def test_evaluate_measures_reliability_for_json_alone(shop: Path, reclaim, monkeypatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("seconds for nothing")

    record = reclaim("evaluate", "after-test.safetensors", "--json").json
    assert set(record["reliability"]) == {"all", "seen", "absent", "question_parts", "question_bins"}
    monkeypatch.setattr(import_module("reclaim.report.reliability"), "reliability", never)
    assert reclaim("evaluate", "after-test.safetensors").code == 0


def test_evaluate_judges_what_a_calibrator_makes_of_the_rows(shop: Path, reclaim) -> None:
    assert reclaim("calibrate", "temperature", "after-val.safetensors", "--seen-rows", "--out", "t.json").code == 0
    wanted = evaluate(rows("after-test").through(load_calibrator(Path("t.json"))))
    said = reclaim("evaluate", "after-test.safetensors", "--calibrator", "t.json").out
    assert f"negative log-likelihood {wanted.confidence.nll:.3f}," in said


@pytest.mark.parametrize("names", [("val", "test"), ("val", "val"), ("", "val")])
def test_rows_that_fitted_a_calibrator_are_refused_by_name_or_by_their_logits(
    shop: Path, reclaim, names: tuple[str, str]
) -> None:
    """Rows on record are told by their origin, those of an array by what they are; rows without a name may be any."""
    fits, judges = (replace(rows("after-val"), split=name, data="d" if name else "") for name in names)
    for name, held in (("fits", fits), ("judges", judges)):
        save_snapshot(Path(name), held)
    assert reclaim("calibrate", "temperature", "fits", "--seen-rows", "--out", "t.json").code == 0
    done = reclaim("evaluate", "judges", "--calibrator", "t.json")
    same = names[0] == names[1]
    where = f"{judges.origin}, the rows" if same else f"{fits.origin or 'rows'} that are by their logits those"
    assert done.code == 2 and lines(done.err) == [
        f"reclaim: t.json was fitted on {where} of judges itself, and would be flattered.",
        "Judge it on another split, or say --same-split.",
    ]


def test_rows_without_a_name_are_judged_and_it_is_said(shop: Path, reclaim) -> None:
    save_snapshot(Path("rows"), replace(rows("after-val"), split="", data="", model=""))
    assert reclaim("calibrate", "temperature", "rows", "--seen-rows", "--out", "t.json").code == 0
    done = reclaim("evaluate", "rows", "--calibrator", "t.json")
    assert done.code == 0 and done.err == (
        "reclaim: t.json was fitted on rows that are by their logits those of rows itself, and would be flattered. "
        "Judge it on others.\n"
    )
    assert not reclaim("evaluate", "after-test.safetensors", "--calibrator", "t.json").err


def test_diagnose_prints_every_answer_with_the_damage_first(shop: Path, reclaim) -> None:
    found = diagnose(rows("before-test"), rows("after-test"))
    assert 0 < sum(one.damaged for one in found) < len(found)
    ordered = [one for one in found if one.damaged] + [one for one in found if not one.damaged]
    said = reclaim("diagnose", "before-test.safetensors", "after-test.safetensors").out
    assert [" ".join(part.split()) for part in said.split("\n\n") if part.strip()] == [
        " ".join(f"{one.question}{' damaged' if one.damaged else ''} {one.verdict}".split()) for one in ordered
    ]


def test_diagnose_says_if_the_weights_are_not_those_that_answered(shop: Path, reclaim) -> None:
    pair = ("diagnose", "before-test.safetensors", "after-test.safetensors")
    right = reclaim(*pair, "--before-model", "before", "--after-model", "after", "--json")
    wrong = reclaim(*pair, "--before-model", "after", "--after-model", "after", "--json")
    assert right.code == wrong.code == 0 and not right.err
    assert wrong.err == "reclaim: before-test.safetensors holds the answers of other weights than after has.\n"
    save_snapshot(Path("nameless.safetensors"), replace(rows("before-test"), model_identity=""))
    unknown = reclaim("diagnose", "nameless.safetensors", pair[2], "--before-model", "after", "--json")
    assert unknown.code == 0 and not unknown.err  # nobody knows whose answers they are
    only = reclaim(*pair, "--after-model", "after", "--json").json["findings"]
    whole = right.json["findings"]
    assert only != whole and [one["question"] for one in only] == [one["question"] for one in whole]


def test_a_page_with_several_calibrators_calls_each_by_its_file_and_tells_its_reason(shop: Path, reclaim) -> None:
    for select in ("retention-budget", "own-class-left-out"):
        call = ("calibrate", "logit-offset", "after-val.safetensors", "--select", select)
        assert reclaim(*call, "--out", f"{select}.json").code == 0
    pair = ("report", "before-test.safetensors", "after-test.safetensors")
    both = ("--calibrator", "retention-budget.json", "--calibrator", "own-class-left-out.json")
    assert reclaim(*pair, *both, "--out", "two.html").code == 0 == reclaim(*pair, *both[:2], "--out", "one.html").code
    assert reclaim(*pair, "--out", "none.html").code == 0
    page = {name: Path(f"{name}.html").read_text() for name in ("two", "one", "none")}
    reasons = [html.escape(recorded(f"{name}.json")["reason"]) for name in ("retention-budget", "own-class-left-out")]
    assert all(reason in page["two"] for reason in reasons) and ">own-class-left-out<" in page["two"]
    assert reasons[0] in page["one"] and ">repaired<" in page["one"] and ">retention-budget<" not in page["one"]
    assert ">repaired<" not in page["none"] and ">repaired<" not in page["two"]
    assert all("Are absent classes merely outvoted" in text for text in page.values())


# --- calibrate


def test_calibrate_prints_what_was_fitted_and_what_it_does_to_its_rows(shop: Path, reclaim) -> None:
    call = ("calibrate", "temperature", "after-val.safetensors", "--seen-rows")
    done = reclaim(*call, "--out", "t.json")
    fitted, held = load_calibrator(Path("t.json")), rows("after-val").seen_rows()
    before, after = (evaluate(one).confidence for one in (held, held.through(fitted)))
    rest = [
        f"temperature {fitted.temperature:.4f}",
        f"on these rows, which flatter it: negative log-likelihood {before.nll:.3f} -> {after.nll:.3f}, calibration "
        f"error {before.ece:.3f} -> {after.ece:.3f}",
    ]
    note = [f"note: {fitted.fitted.details['note']}"] if fitted.fitted.details.get("note") else []
    assert lines(done.out) == [f"temperature on {len(held)} rows: t.json", *rest, *note]
    assert lines(reclaim(*call).out) == [f"temperature on {len(held)} rows", *rest, *note]


def test_calibrate_prints_the_guarantee_and_a_note_where_there_are_such(shop: Path, reclaim) -> None:
    done = reclaim("calibrate", "constrained", "after-val.safetensors", "--seen-rows", "--out", "c.json")
    record = recorded("c.json")
    assert lines(done.out)[1:3] == [
        f"temperature {record['temperature']:.4f}", f"offset {record['offset']:.4f}; {record['guarantee']}"
    ]  # fmt: skip
    held = rows("after-val").seen_rows()
    save_snapshot(Path("sure"), replace(held, logits=4 * torch.eye(10)[held.known_labels]))  # never wrong: no best one
    said = lines(reclaim("calibrate", "temperature", "sure").out)
    note = reclaim("calibrate", "temperature", "sure", "--json").json["details"]["note"]
    assert note and said[-1] == f"note: {note}"


def test_calibrate_logit_offset_prints_the_offset_its_reason_and_guarantee(shop: Path, reclaim) -> None:
    call = ("calibrate", "logit-offset", "after-val.safetensors", "--select")
    for select, more in (("retention-budget", ()), ("gap-matching", ("--before", "before-val.safetensors"))):
        done = reclaim(*call, select, *more, "--out", "o.json", "--force")
        record = recorded("o.json")
        assert lines(done.out) == [
            f"offset {record['offset']:.4f} for 5 absent classes",
            f"{select}: {record['reason']}",
            f"guarantee: {record['guarantee'] or 'none'}",
        ]
        assert recorded("o.json.run.json").keys() == ALWAYS


def test_calibrate_labelled_takes_the_rows_given_where_no_others_are(shop: Path, reclaim) -> None:
    call = ("calibrate", "logit-offset", "after-val.safetensors", "--select", "labelled", "--json")
    own, other = reclaim(*call).json, reclaim(*call, "--labelled", "after-test.safetensors").json
    assert (own["evidence"]["labelled"], other["evidence"]["labelled"]) == (150, 125)
    assert own["offset"] == reclaim(*call, "--labelled", "after-val.safetensors").json["offset"]


def test_warnings_of_held_out_rows_are_said_and_recorded(shop: Path, reclaim) -> None:
    held = rows("after-val").seen_rows()
    save_snapshot(Path("trained"), replace(held, split="train"))
    save_snapshot(Path("wrong"), replace(held, logits=-held.logits))
    done = reclaim("calibrate", "temperature", "trained", "--held-out", "wrong", "--json")
    assert done.code == 0 and len(done.json["warnings"]) == 2
    assert done.err.splitlines() == [f"reclaim: {warning}" for warning in done.json["warnings"]]
    fine = reclaim("calibrate", "temperature", "after-val.safetensors", "--seen-rows", "--json")
    assert "warnings" not in fine.json and not fine.err


def test_probabilities_need_their_flag_and_zeros_their_floor(shop: Path, reclaim) -> None:
    held = rows("after-val").seen_rows()
    p = held.logits.double().softmax(dim=1)
    np.savez("p.npz", logits=p.numpy(), labels=held.known_labels.numpy(), seen=held.seen.numpy())
    call = ("calibrate", "temperature", "p.npz", "--json")
    assert "--floor is for probabilities; say --from-probabilities too." in reclaim(*call, "--floor", 0.1).err
    plain = reclaim(*call, "--from-probabilities").json["temperature"]
    wanted = reclaim("calibrate", "temperature", "after-val.safetensors", "--seen-rows", "--json").json["temperature"]
    assert plain == pytest.approx(wanted, rel=1e-3)
    assert reclaim(*call, "--from-probabilities", "--floor", 0.05).json["temperature"] != pytest.approx(plain, rel=1e-3)
    wrong = reclaim("calibrate", "temperature", "p.npz", "--seen-rows", "--all-classes", "--from-probabilities")
    assert wrong.code == 2 and wrong.err.startswith("reclaim: say either --seen-rows or --all-classes.")


# --- classify


@pytest.fixture
def sure(shop: Path) -> tuple[list[Path], float]:
    """Some pictures, and a probability that some of their answers reach."""
    return sorted(Path("target/test").rglob("*.png"))[:9], 0.7


def test_classify_prints_a_line_for_each_file_and_a_dash_for_no_answer(sure, reclaim) -> None:
    files, least = sure
    call = ("classify", *files, "--model", "after", "--top", 2, "--abstain-below", least)
    found = reclaim(*call, "--json").json["rows"]
    said = lines((done := reclaim(*call)).out)
    assert said[0].split() == ["input", "class", "%", "%"]
    assert 0 < sum(row["class"] is None for row in found) < 9
    for row, line in zip(found, said[1:], strict=True):
        cells = [cell for one in row["top"] for cell in (one["class"], f"{100 * one['probability']:.1f}")]
        assert line.split() == [row["input"], *(cells or ["–", f"{100 * row['probability']:.1f}"])]
    answered = sum(row["class"] is not None for row in found)
    assert done.err == (
        f"reclaim: {answered} of 9 rows are answered; how many of the answers are wrong is not known: the model has no "
        "record of it.\n"
    )
    assert not reclaim(*call, "--quiet").err


def test_classify_writes_blanks_where_nothing_is_answered(sure, reclaim) -> None:
    files, least = sure
    call = ("classify", *files, "--model", "after", "--top", 3, "--abstain-below", least)
    found = reclaim(*call, "--json").json
    done = reclaim(*call, "--out", "a.csv", "--json")
    assert done.json == {**found, "out": "a.csv"} and not reclaim(*call, "--out", "b.csv").out
    table = [line.split(",") for line in Path("a.csv").read_text().splitlines()]
    assert table[0] == ["input", "class", "probability", "class_2", "probability_2", "class_3", "probability_3"]
    for row, cells in zip(found["rows"], table[1:], strict=True):
        others = [str(value) for one in row["top"][1:] for value in (one["class"], one["probability"])]
        first = [row["input"], row["class"] or "", f"{row['probability']:.6g}"]
        assert cells == [*first, *(others or [""] * 4)]
    assert reclaim(*call, "--format", "csv").out == Path("a.csv").read_text() == Path("b.csv").read_text()
    record = recorded("a.csv.run.json")
    assert record.keys() == ALWAYS | {"device", "rows", "on_record"}
    assert (record["device"], record["rows"], record["on_record"]) == ("cpu", 9, None)


def test_classify_takes_the_format_from_the_suffix_and_a_table_is_not_written(sure, reclaim) -> None:
    files, _ = sure
    call = ("classify", *files, "--model", "after")
    assert reclaim(*call, "--out", "a.ndjson").code == 0 == reclaim(*call, "--out", "b", "--format", "jsonl").code
    assert Path("a.ndjson").read_text() == Path("b").read_text() == reclaim(*call, "--format", "jsonl").out
    wrong = reclaim(*call, "--out", "c", "--format", "table")
    assert wrong.code == 2 and "a table is printed, not written: say --format csv or jsonl" in wrong.err
    nameless = reclaim(*call, "--out", "c")
    assert nameless.err == "reclaim: c does not say how to write it. Name it c.csv or c.jsonl.\n"


def test_classify_says_what_is_on_record(sure, reclaim) -> None:
    files, _ = sure
    assert reclaim("repair", *MODELS, "--out", "fixed").code == 0
    for least, error in ((0.5, True), (1.0, False)):
        done = reclaim("classify", *files, "--model", "fixed", "--abstain-below", least, "--out", "a.csv", "--force")
        known = recorded("a.csv.run.json")["on_record"]
        assert (known["error"] is not None) == error
        count = sum(bool(line.split(",")[1]) for line in Path("a.csv").read_text().splitlines()[1:])
        wrong = f", of which {100 * known['error']:.1f} % were wrong" if error else ""
        assert done.err == (
            f"reclaim: {count} of 9 rows are answered; of the {known['rows']} rows that the repair reported on, "
            f"{100 * known['share']:.1f} % have a probability of at least {least:g}{wrong}. It holds for rows like "
            "those.\n"
        )


# --- repair, demo


def test_repair_prints_accuracies_the_ceiling_what_was_tried_and_what_was_done(shop: Path, reclaim) -> None:
    made = repair_answers(rows("before-val"), rows("after-val"), Choices())
    said = lines(reclaim("repair", *ANSWERS, "--out", "out").out)
    found = {name: evaluate(getattr(made, name)) for name in ("before", "after", "repaired")}
    assert said[0] == f"{len(made.repaired)} rows that chose nothing" and said[1].startswith("accuracy, % all")
    for name, line in zip(found, said[2:5], strict=True):
        assert line.split()[:6] == [name, *percents(found[name].accuracy)]
    assert said[5] == (
        "ceiling of an offset on the fine-tuned model alone, on these rows: "
        f"{100 * found['after'].tradeoff.best_all:.1f} %"
    )
    assert said[6].startswith("by alpha (") and len(made.mix.tried) > 1
    told = [" ".join(f"{term}: {sentence}".split()) for term, sentence in sentences(made)]
    assert said[-1] == "the mixture and the report: out" and said[-1 - len(told) : -1] == told


def test_repair_without_mixing_tries_nothing_and_without_absent_rows_there_is_no_ceiling(shop: Path, reclaim) -> None:
    said = reclaim("repair", *ANSWERS, "--mix", 0.5, "--out", "a").out
    assert "by alpha" not in said and "ceiling of an offset on the fine-tuned model alone" in said
    for name in ("before", "after"):
        save_snapshot(Path(f"{name}-seen"), rows(f"{name}-val").seen_rows())
    said = reclaim("repair", "--before", "before-seen", "--after", "after-seen", "--out", "b").out
    assert "the mixture and the report: b" in said and "ceiling" not in said


def test_repair_writes_down_what_it_did_and_how(shop: Path, reclaim) -> None:
    done = reclaim("repair", *MODELS, "--seed", 4, "--out", "out")
    record = recorded("out/run.json")
    assert lines(done.out)[-1] == "the repaired model and the report: out"
    assert record.keys() >= ALWAYS | {"data", "mix", "seed", "bias", "device", "precision", "before", "after",
                                      "repaired", "findings", "answered", "offset"}  # fmt: skip
    assert (record["seed"], record["device"], record["precision"]) == (4, "cpu", "float32")
    assert not {"alpha", "heads", "classes", "seen", "row_identities"} & record.keys()
    assert record["command"].startswith("reclaim") and record["data"][0]["source"] == "target"
    answers = reclaim("repair", *ANSWERS, "--out", "answers", "--json").json
    assert answers["alpha"] == answers["mix"]["alpha"] and not {"bias", "device", "data"} & answers.keys()


def test_the_demo_prints_what_was_won_the_seeds_and_the_story_of_the_first(shop: Path, reclaim, monkeypatch) -> None:
    before, after = load_model("before"), load_model("after")
    target = load_data("target")
    made = [Demo(before, after, target, repair(before, after, target, Choices(seed=seed))) for seed in (3, 4)]
    monkeypatch.setattr(import_module("reclaim.papers.demo"), "demo", lambda seed, where: made[seed - 3])
    found = [{n: evaluate(getattr(run.repair, n)) for n in ("before", "after", "repaired")} for run in made]
    for seeds in (1, 2):
        done = reclaim("demo", "--seed", 3, "--seeds", seeds, "--out", f"o{seeds}")
        assert done.err == f"reclaim: the demo writes o{seeds}\n"
        said = lines(done.out)
        assert said[0] == " ".join(won(over_seeds(found[:seeds])).split())
        assert any("standard deviation over 2 seeds" in line for line in said) == (seeds == 2)
        story = said.index(
            "seed 3, whose files are kept: pretrained on ten digits, fine-tuned on "
            f"{', '.join(made[0].repair.model.seen)} in a shifted domain"
        )
        assert said[story - 1] == "" and said[story + 1] == f"{found[0]['after'].n} test rows that chose nothing"
        told = [" ".join(f"{term}: {sentence}".split()) for term, sentence in sentences(made[0].repair)]
        assert said[story + 6 : -1] == told
        assert re.fullmatch(rf"\d+\.\d seconds; open o{seeds}/report.html", said[-1])
        record = recorded(f"o{seeds}/run.json")
        assert record["seed"] == 3 and [one["seed"] for one in record["seeds"]] == [3, 4][:seeds]
        assert record["seeds"][0] == {"seed": 3, **{n: f.record()["accuracy"] for n, f in found[0].items()}}
        for name, model in (("before", before), ("after", after)):
            kept = load_model(f"o{seeds}/{name}").weights
            assert all(torch.equal(tensor, kept[key]) for key, tensor in model.weights.items())
        assert _is_a_demo(Path(f"o{seeds}"))


def test_a_demo_replaces_an_earlier_one_and_nothing_else(shop: Path) -> None:
    Path("o").mkdir()
    assert not _is_a_demo(Path("o")) and not _is_a_demo(Path("nowhere"))
    run = {"seeds": [], "seed": 0, "bias": 1.0, "more": 1}
    for record in (run, {key: value for key, value in run.items() if key != "bias"}, [run]):
        Path("o/run.json").write_text(json.dumps(record))
        assert _is_a_demo(Path("o")) == (record is run)
    Path("o/run.json").write_text(json.dumps(run))
    Path("o/before").mkdir()
    assert _is_a_demo(Path("o"))
    Path("o/notes.txt").touch()
    assert not _is_a_demo(Path("o"))


# --- what is written beside an output


WRITING: dict[str, tuple[object, ...]] = {
    "predict": ("predict", "--model", "after", "--data", "target", "--split", "val", "--out", "z"),
    "apply to answers": ("apply", "t.json", "after-test.safetensors", "--out", "z"),
    "apply to a model": ("apply", "t.json", "--model", "after", "--out", "z"),
    "calibrate": ("calibrate", "vector", "after-val.safetensors", "--seen-rows", "--ridge", 0.25, "--out", "z"),
    "merge": ("merge", "interpolation", "--before", "before", "--after", "after", "--alpha", 0.25, "--out", "z"),
    "report": ("report", "before-val.safetensors", "after-val.safetensors", "--out", "z.html"),
    "tune": ("tune", "fine-tune", "--model", "before", "--data", "target", "--steps", 2, "--out", "z"),
}

RECORDS: list[tuple[str, str, set[str]]] = [
    ("predict", "z.run.json", {"device", "precision", "processes", "rows", "classes", "data"}),
    ("apply to answers", "z.run.json", set()),
    ("apply to a model", "z/run.json", set()),
    ("calibrate", "z.run.json", {"ridge"}),
    ("merge", "z/run.json", {"device", "alpha"}),
    ("report", "z.html.run.json", set()),
    ("tune", "z/run.json", {"recipe", "device", "budget", "epochs", "data"}),
]

LAST: list[tuple[str, str, dict[str, object]]] = [
    ("predict", "150 rows, 10 classes: z", {"out": "z", "rows": 150, "classes": 10, "seen": 5}),
    ("apply to answers", "the snapshot: z", {"out": "z"}),
    ("apply to a model", "the model: z", {"out": "z"}),
    ("merge", "the model: z", {"out": "z", "note": None}),
    ("report", "the page: z.html", {"out": "z.html"}),
    ("tune", "the model: z", {"out": "z", "recipe": "fine-tune"}),
]


@pytest.fixture
def written(shop: Path, reclaim) -> None:
    """A calibrator for those who need one."""
    assert reclaim("calibrate", "temperature", "after-val.safetensors", "--seen-rows", "--out", "t.json").code == 0


@pytest.mark.parametrize(("command", "place", "more"), RECORDS, ids=[name for name, *_ in RECORDS])
def test_a_record_says_what_repeats_the_run(
    written: None, reclaim, monkeypatch, command: str, place: str, more: set[str]
) -> None:
    words = WRITING[command]
    monkeypatch.setattr(sys, "argv", ["reclaim", *map(str, words)])
    done = reclaim(*words)
    assert done.code == 0, done.err
    record = recorded(place)
    assert record.keys() == ALWAYS | more
    assert record["command"] == "reclaim " + " ".join(map(str, words))
    assert record["versions"].keys() == {"python", "reclaim", "torch", "numpy", "accelerate", "safetensors"}
    assert 0 <= record["seconds"] < 120 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", record["finished"])


@pytest.mark.parametrize(("command", "line", "record"), LAST, ids=[name for name, *_ in LAST])
def test_the_last_line_says_where_it_is_and_json_says_the_same(
    written: None, reclaim, command: str, line: str, record: dict[str, object]
) -> None:
    assert reclaim(*WRITING[command]).out == f"{line}\n"
    assert reclaim(*WRITING[command], "--force", "--json").json == record


def test_lists_have_a_line_for_each_method_and_its_source(reclaim) -> None:
    every = {family: [describe(family, name) for name in names(family)] for family in FAMILIES}

    def expected(family: str) -> list[str]:
        sourced = (f"{m.name} {m.summary}{f' ({m.source})' if m.source else ''}" for m in every[family])
        return [family, *(" ".join(line.split()) for line in sourced)]

    assert lines(reclaim("list", "recipes").out) == expected("recipes")
    assert lines(reclaim("list").out) == [line for family in FAMILIES for line in expected(family)]
    papers = [(f"{m.name}: {m.summary}", f"needs {m.needs}", f"source: {m.source}") for m in every["papers"]]
    assert lines(reclaim("paper").out) == [" ".join(line.split()) for three in papers for line in three]
    assert reclaim("list", "recipe").err.startswith("reclaim: no family called 'recipe'")
