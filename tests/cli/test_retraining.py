"""Repairing by pseudo cross-validation: the recipe is the one that `reclaim tune` wrote down."""

import json
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path

import pytest

from reclaim.cli import retraining
from reclaim.cli.choices import by_retraining, choice_flags
from reclaim.data.load import load_data
from reclaim.models.directory import load_model
from reclaim.repairs.choices import BY_RETRAINING as NAME
from reclaim.repairs.pseudo_cross_validation import pseudo_cross_validation
from reclaim.training.budget import Budget
from reclaim.training.recipes.wise_ft import wise_ft
from tests import toys
from tests.cli.workshop import FACTORY

REPAIR = ("repair", "--before", "before", "--data", "target", "--out", "out", "--json", "--select", NAME)
BUDGET = Budget(epochs=4, learning_rate=0.02, batch_size=16, optimizer="adamw", seed=3)


@pytest.fixture
def tuned(shop: Path, reclaim) -> str:
    """A directory that `reclaim tune` wrote, with no number left at its default."""
    done = reclaim("tune", "wise-ft", "--model", "before", "--data", "target", "--out", "tuned", "--weight", 0.8,
                   "--mode", "eval", "--epochs", 4, "--learning-rate", 0.02, "--batch-size", 16, "--optimizer",
                   "adamw", "--seed", 3, "--workers", 1)  # fmt: skip
    assert done.code == 0, done.err
    return "tuned"


def by_hand(**numbers):
    """What Python finds with the same recipe."""
    recipe = lambda model, data: wise_ft(model, data, BUDGET, alpha=0.8, mode="eval")  # noqa: E731
    return pseudo_cross_validation(load_model("before"), load_data("target"), recipe, **numbers)


def test_it_repeats_the_recipe_with_its_numbers_and_budget(tuned: str, reclaim) -> None:
    done = reclaim(*REPAIR, "--after", tuned, "--runs", 2, "--seed", 1)
    assert done.code == 0, done.err
    assert done.json["offset"] == by_hand(runs=2, seed=1).offset
    assert (done.json["selector"], done.json["guarantee"], done.json["mix"]["alpha"]) == (NAME, None, 1.0)
    assert json.loads(Path("out/calibrator.json").read_text())["selector"] == NAME
    assert not done.err


def test_a_record_from_before_the_budget_had_all_its_fields_is_repeated(tuned: str, reclaim) -> None:
    path = Path(tuned) / "run.json"
    record = json.loads(path.read_text())
    old = {key: value for key, value in record["budget"].items() if key not in ("steps", "absent_rows")}
    path.write_text(json.dumps(record | {"budget": old}))
    done = reclaim(*REPAIR, "--after", tuned, "--runs", 1)
    assert done.code == 0 and done.json["offset"] == by_hand(runs=1).offset


def test_its_numbers_are_flags(tuned: str, reclaim) -> None:
    flags = ("--runs", 1, "--shares", 0.4, 0.8, "--criterion", "harmonic", "--aggregate", "median", "--cheap")
    done = reclaim(*REPAIR, "--after", f"plain/{FACTORY}@{tuned}", *flags)
    assert done.code == 0, done.err
    numbers = {"runs": 1, "shares": (0.4, 0.8), "criterion": "harmonic", "aggregate": "median"}
    assert done.json["offset"] == by_hand(after=load_model(tuned), cheap=True, **numbers).offset
    assert [run["classes"] for run in done.json["details"]["runs"]] == [2, 4] and done.json["details"]["ratio"] != 1


def test_the_help_tells_the_defaults_of_the_function(reclaim) -> None:
    takes, help_ = signature(pseudo_cross_validation).parameters, " ".join(reclaim("repair", "--help").out.split())
    assert {*by_retraining().numbers} == {name for name, p in takes.items() if p.kind is Parameter.KEYWORD_ONLY}
    for name in ("runs", "shares", "aggregate"):
        default = takes[name].default
        text = choice_flags()[name].annotation.__metadata__[0].help
        assert text.endswith(f"Default: {default[0] if isinstance(default, tuple) else default}.")
        assert f"--{name}" in help_


def test_it_retrains_on_the_device_of_the_repair(tuned: str, monkeypatch) -> None:
    from reclaim.core.inference import Inference
    from reclaim.training.recipes import wise_ft as module

    given = []
    monkeypatch.setattr(module, "wise_ft", lambda model, data, budget, **numbers: given.append((budget, numbers)))
    retraining.recipe_of(tuned, Inference(workers=2, device="cpu"))(None, None)
    assert given == [(replace(BUDGET, workers=2, device="cpu"), {"alpha": 0.8, "mode": "eval"})]


def test_a_record_written_under_a_number_s_former_name_is_repeated_too(tuned: str) -> None:
    from reclaim.core.inference import Inference

    path = Path(tuned, "run.json")
    text = path.read_text()
    assert text.count('"alpha": 0.8') == 1
    now = retraining.recipe_of(tuned, Inference())(load_model("before"), load_data("target"))
    path.write_text(text.replace('"alpha"', '"weight"'))
    then = retraining.recipe_of(tuned, Inference())(load_model("before"), load_data("target"))
    assert toys.same(now.weights, then.weights) and not toys.same(now.weights, load_model("before").weights)


@pytest.mark.parametrize("written", [None, {"mix": 0.5}, ["fine-tune"], {"recipe": "fine-tune"}])
def test_a_model_that_does_not_say_how_it_was_made_is_refused(shop: Path, reclaim, written: object) -> None:
    Path("mine").mkdir()
    for file in Path("after").iterdir():
        Path("mine", file.name).symlink_to(file.resolve())
    if written is not None:
        Path("mine/run.json").write_text(json.dumps(written))
    Path("run.json").write_text(json.dumps({"recipe": "fine-tune", "budget": {}}))  # somebody else's
    for after in ("mine", f"plain/{FACTORY}@mine", f"plain/{FACTORY}@mine/model.safetensors", f"plain/{FACTORY}"):
        done = reclaim(*REPAIR, "--after", after)
        assert done.code == 2 and done.err.startswith("reclaim: pseudo cross-validation repeats the fine-tuning"), done
        assert "Give --after a directory that `reclaim tune` wrote" in done.err and not Path("out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "fine-tine"}, "no recipe called 'fine-tine'"),
        ({"budget": {"epochen": 3}}, "by another version of Reclaim"),
        ({"budget": {"epochs": -3}}, "epochs must be a whole number between 0 and 1000000000; given: -3"),
        ({"budget": None}, "run.json, budget holds something else than it should: expected object, got null"),
        ({"budget": {"epochs": 1.5}}, "expected int, got float, at epochs"),
        ({"recipe": ["fine-tune"]}, "run.json, recipe holds something else than it should: expected str, got array"),
    ],
)
def test_a_record_that_cannot_be_repeated_is_refused(tuned: str, reclaim, change: dict, message: str) -> None:
    path = Path(tuned, "run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    done = reclaim(*REPAIR, "--after", tuned)
    assert done.code == 2 and message in done.err, done


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--mix", 0.5), "given: a mix of 0.5"),
        (("--prefer", "seen"), "a preference ('seen') chooses among mixtures"),
        (
            ("--budget", 0.1),
            "'pseudo-cross-validation' does not take --budget; its flags: --runs, --shares, --aggregate",
        ),
        (("--select", "auto", "--runs", 2), "'auto' does not take --runs"),
        (("--shares", 1.5), "between 0 and 1; given: [1.5]"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tuned: str, reclaim, flags: tuple, message: str) -> None:
    common = REPAIR[:-2] if "--select" in flags else REPAIR
    done = reclaim(*common, "--after", tuned, *flags)
    assert done.code == 2 and message in done.err, done


def test_data_without_a_training_split_are_refused(tuned: str, reclaim) -> None:
    for split in ("val", "test"):
        Path("own").mkdir(exist_ok=True)
        Path("own", split).symlink_to(Path("target", split).resolve())
    done = reclaim(*("own" if word == "target" else word for word in REPAIR), "--after", tuned)
    assert done.code == 2 and "retrains on the training rows" in done.err, done
