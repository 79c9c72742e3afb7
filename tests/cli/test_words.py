"""Words of the shell one by one: what a wrong call is told; what arguments are called; what choices stand for."""

import logging
from dataclasses import asdict
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal

import pytest
from cyclopts import App, Token

from reclaim.cli.calls import call_of, converted, is_ours
from reclaim.cli.choices import Adapters, More, by_retraining, choice_flags, choices_given
from reclaim.cli.main import app
from reclaim.cli.method_flags import flag, given_numbers, own_numbers, selector_numbers
from reclaim.cli.naming import OTHERS, called, flag_of, named
from reclaim.cli.said import InTheShellsWords
from reclaim.core.errors import Argument, BadInput
from reclaim.core.registry import describe, names
from reclaim.repairs.choices import Choices

TUNE = ("tune", "fine-tune", "--model", "m", "--data", "d", "--out", "o")


def wrong(*words: str) -> str:
    with pytest.raises(BadInput) as error:
        call_of(app, words)
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evalute", "x"), "…, tune. Did you mean 'evaluate'?"),
        (("zzz",), "no command 'zzz'; there are: apply, calibrate, classify, demo, diagnose, evaluate, export, list, "
         "merge, paper, predict, repair, report, tune."),
        (("diagnose",), "missing: BEFORE."),
        (("diagnose", "x"), "missing: AFTER."),
        (("report",), "missing: BEFORE, --out."),
        (("report", "x"), "missing: AFTER, --out."),
        (("report", "x", "y"), "missing: --out."),
        (("report", "x", "y", "--out"), "--out needs a value."),
        (("predict", "-m"), "--model needs a value."),
        (("export",), "missing: --to, --out."),
        (("export", "--to=onnx"), "missing: --out."),
        (("evaluate", "x", "--calibrator"), "--calibrator needs a value."),
        (("evaluate", "a", "b"), "too many words: b. A value of several words needs quotes."),
        (("evaluate", "a", "--modl"), "there is no flag --modl; there are: --snapshot, --calibrator, --same-split, "
         "--labels, --seen, --all-classes, --classes, --json, --quiet, --debug."),
        (("evaluate", "a", "--calibrater=x"), "there is no flag --calibrater; did you mean --calibrator?"),
        (("evaluate", "a", "-z"), "…--classes, --json, --quiet, --debug."),
        ((*TUNE, "--epochs", "1.5"), "--epochs takes a whole number; given: 1.5."),
        ((*TUNE, "--lr", "x" * 50), f"--learning-rate takes a number; given: {'x' * 40}."),
        ((*TUNE, "--epochs", "0x10"), "--epochs takes a whole number; given: 0x10."),
        ((*TUNE, "--epochs", "-1"), "epochs must be a whole number between 0 and 1000000000; given: -1."),
        ((*TUNE, "--optimizer", "zzz"), "--optimizer is one of sgd, adamw; given: zzz."),
        ((*TUNE, "--opt", "adamv"), "--optimizer is one of sgd, adamw; given: adamv. Did you mean 'adamw'?"),
        (("export", "--to", "x" * 50, "--out", "o"), f"--to is one of onnx; given: {'x' * 40}."),
        (("evaluate", "a", "--json=maybe"), "--json cannot be 'maybe'."),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told_one_whole_sentence(words: tuple[str, ...], message: str) -> None:
    said = wrong(*words)
    assert said.endswith(message.removeprefix("…")) and (message.startswith("…") or said == message), said
    if "Did you mean" not in message:
        assert "Did you mean" not in said


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (int, "12", 12), (int, "-3", -3), (int, "+3", 3), (int, "9" * 30, int("9" * 30)), (int, "9" * 31, None),
        (int, "1_000", None), (int, "0x10", None), (int, "1.0", None), (int, "\u0661", None),
        (float, "1", 1.0), (float, ".5", 0.5), (float, "5.", 5.0), (float, "-1e-3", -1e-3), (float, "+2E+2", 200.0),
        (float, "nan", None), (float, "inf", None), (float, "1e999", None), (float, "1_0", None), (float, ".", None),
        (float, "1e", None),
    ],
)  # fmt: skip
def test_numbers_are_as_people_write_them(kind: type, word: str, value: float | None) -> None:
    words = (*TUNE, "--lr", word) if kind is float else (*TUNE, "--batch-size", word)
    if value is None:
        number, called_so = ("number", "--learning-rate") if kind is float else ("whole number", "--batch-size")
        assert wrong(*words) == f"{called_so} takes a {number}; given: {word[:40]}."
    else:
        assert converted(kind, [Token(value=word)]) == value


def test_texts_and_flags_of_other_kinds_are_left_to_the_shells_library() -> None:
    call = call_of(app, ["evaluate", "x", "--json", "--calibrator", "c"])
    assert is_ours(call) and call.func.__module__ == "reclaim.cli.commands.evaluate"
    assert call.args == (Path("x"),) and call.keywords["calibrator"] == Path("c") and call.keywords["output"].json
    assert not is_ours(call_of(app, ["--help"])) and not is_ours(call_of(app, ["evaluate", "--help"]))
    assert not is_ours(call_of(App(), [])) and not is_ours(lambda: None)


@pytest.mark.parametrize("argument", OTHERS)
def test_every_other_name_is_taken_where_the_flag_is_and_nowhere_else(argument: str) -> None:
    values = {
        "optimizer": "adamw",
        "precision": "bf16",
        "result": "merged",
        "learning_rate": "0.5",
        "weight_decay": "0.5",
    }
    value = values.get(argument, "7")
    words = list(TUNE)
    if argument in ("result", "precision"):
        words = ["repair", "--before", "m", "--after", "n", "--data", "d", "--out", "o"]
    for other in OTHERS[argument]:
        if argument in ("force", "quiet"):
            assert (
                repr(call_of(app, [*words, other]))
                == repr(call_of(app, [*words, named(argument)]))
                != repr(call_of(app, words))
            )
            continue
        plain = [word for at, word in enumerate(words) if named(argument) not in words[max(at - 1, 0) : at + 1]]
        expected = call_of(app, [*plain, named(argument), value])
        assert repr(call_of(app, [*plain, other, value])) == repr(expected)
        if other.startswith("--"):
            assert repr(call_of(app, [*plain, f"{other}={value}"])) == repr(expected)
    assert "there is no flag --lr" in wrong("evaluate", "x", "--lr", "1")
    labels = call_of(app, ["evaluate", "x", "--labels", "y"]).keywords
    assert labels["arrays"].labels == Path("y") and "classes" not in labels  # which has a meaning of its own there


# --- what arguments are called


def test_flags_that_errors_advise() -> None:
    for argument, expected in (
        (Argument("image_size"), "--image-size PIXELS"), (Argument("image_size", value=8), "--image-size 8"),
        (Argument("classes", value=True), "--classes FILE, one name per line"), (Argument("logits"), ""),
        (Argument("before_classes"), "--before-classes FILE, one name per line"),
        (Argument("initial"), "--initial DIR"),
        (Argument("all_classes", value=True), "--all-classes"), (Argument("kind", value="shared"), "--kind shared"),
    ):  # fmt: skip
        assert flag_of(argument) == expected


def test_a_block_may_have_other_flags_for_the_arguments_of_what_it_calls() -> None:
    advice = (Argument("seen", "say which"), Argument("logits", "give them"), Argument("other", "or this"))
    with pytest.raises(BadInput) as error, called(seen=("seen_rows", "all_classes"), logits=()):
        raise BadInput("wrong.", *advice)
    assert str(error.value) == "wrong.\n  Say which: seen_rows=, all_classes=; or or this: other=."
    assert error.value.do[1] == Argument("all_classes")
    with called():
        pass


def test_what_is_logged_names_flags() -> None:
    record = logging.LogRecord("x", 20, "", 1, "say the argument `image_size` or the argument `seen`; `x`", (), None)
    assert InTheShellsWords().format(record) == "say --image-size PIXELS or --seen; `x`"


# --- flags of methods and of choices


@pytest.mark.parametrize(
    ("kind", "former", "negative", "alias"),
    [(bool, None, ("--no-some-thing",), ()), (bool | None, "old_name", ("--no-some-thing",), ("--old-name",)),
     (float, None, (), ()), (Literal["a"], "old", (), ("--old",))],
)  # fmt: skip
def test_a_flag_is_also_called_by_its_former_name_and_a_switch_can_be_switched_off(
    kind, former, negative, alias
) -> None:
    made = flag(Parameter("some_thing", Parameter.KEYWORD_ONLY, default=1, annotation=kind), "help.", former)
    (own,) = made.annotation.__metadata__
    assert made.annotation.__origin__ == kind and made.default == 1 and own.help == "help."
    assert own.negative == negative and own.alias == alias and own.consume_multiple


def test_a_selectors_flags_have_no_default_of_their_own_and_say_the_selectors() -> None:
    flags = selector_numbers(by_retraining())
    every = [describe("selectors", name) for name in names("selectors")] + [by_retraining()]
    assert set(flags) == {key for method in every for key in method.numbers}
    for key, made in flags.items():
        first = next(method for method in every if key in method.numbers)
        default = first.numbers[key].default
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        (own,) = made.annotation.__metadata__
        text = f"({first.name}) {first.help.get(key, '')}" + ("" if default is None else f" Default: {shown}.")
        assert made.default is None and own.help == text
    assert set(selector_numbers()) == {key for method in every[:-1] for key in method.numbers}
    numbers = own_numbers("calibrators", "matrix")
    method = describe("calibrators", "matrix")
    assert {key: made.default for key, made in numbers.items()} == {k: a.default for k, a in method.numbers.items()}
    assert all(made.annotation.__metadata__[0].help == method.help[key] for key, made in numbers.items())


def test_numbers_are_those_given_and_must_be_the_selectors() -> None:
    assert given_numbers("retention-budget", {"budget": 0.0, "other": None}) == {"budget": 0.0}
    with pytest.raises(BadInput) as error:
        given_numbers("rate-matching", {"budget": 1, "without_own": True, "rate": 0.5})
    own = ", ".join(map(named, describe("selectors", "rate-matching").numbers))
    assert "'rate-matching' does not take --budget, --without-own; its flags: " + own + "." in str(error.value)
    assert given_numbers("anything", {"x": 1}, {"x"}) == {"x": 1}
    with pytest.raises(BadInput, match="does not take --x; its flags: none"):
        given_numbers("retention-budget", {"x": 1}, ())


def test_choices_are_those_given_and_else_their_defaults() -> None:
    every = choice_flags()
    plain: dict[str, Any] = {name: made.default for name, made in every.items()}
    assert choices_given(plain) == Choices() == choices_given({})
    assert set(asdict(Choices())) - {"numbers"} <= set(every)
    made = choices_given(plain | {"select": "retention-budget", "budget": 0.1, "seed": 4})
    assert made == Choices(select="retention-budget", numbers={"budget": 0.1}, seed=4)
    key = next(iter(by_retraining().numbers))
    own = choices_given(plain | {"select": "pseudo-cross-validation", key: 3})
    assert own.numbers == {key: 3}
    with pytest.raises(BadInput, match="does not take"):
        choices_given(plain | {"select": "average-logit-gap", "budget": 0.1})
    assert More().places == {} and More(source="s").places == {"source": "s"}
    assert More("u", "s", "l").places == {"unlabelled": "u", "source": "s", "labelled": "l"}
    assert Adapters() == Adapters(None, None)
