"""Every numeric option of every command and method, as the signatures declare them, with every kind of number."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import App
from hypothesis import strategies as st

from reclaim.cli.main import COMMANDS, app
from reclaim.core.registry import describe, names
from tests.battery.readers import Kind
from tests.battery.trying import fault_of, ran

__all__ = ["OPTIONS", "options"]

PAIR = ("--before", "before", "--after", "after", "--data", "x.npz", "--out", "o")
ANSWERS = ("before.safetensors", "after.safetensors")
EVIDENCE = (
    "--before", ANSWERS[0], "--unlabelled", ANSWERS[1], "--source", ANSWERS[0], "--labelled", ANSWERS[1],
)  # fmt: skip

# a good call of each command; of a family, what follows the method's name
CALLS = {
    "apply": ("temperature.json", "after.safetensors", "--out", "o.safetensors"),
    "calibrate": ("held.safetensors", "--out", "o.json"),
    "classify": ("pictures/test/ant", "--model", "after", "--json"),
    "demo": ("--out", "o"),
    "diagnose": ANSWERS,
    "evaluate": ("after.safetensors",),
    "export": ("--to", "onnx", "--model", "after", "--out", "o.onnx"),
    "list": (),
    "merge": ("--before", "before", "--after", "after", "--out", "o"),
    "paper": ("digits-left-out", "--smoke", "--out", "o"),
    "predict": ("--model", "after", "--data", "x.npz", "--split", "test", "--out", "o.safetensors"),
    "repair": PAIR,
    "report": (*ANSWERS, "--out", "o.html"),
    "tune": ("--model", "before", "--data", "x.npz", "--epochs", "1", "--out", "o"),
}
SLOW = ("demo", "paper", "export")  # only numbers that are surely wrong

NEVER = (
    "nan", "inf", "-inf", "1e999", "x", "", " ", "0x10", "1_000", "\u0663", "1,5", "--1", "1e", "True", "\x1b[31m1",
)  # fmt: skip
NO_COUNT = ("1.5", "-3", "1e400", "99999999999999999999999", "0.1", ".5", "2147483648000")
PERHAPS = ("0", "1", "2", "-1", "-0", "0.0", "-0.5", "0.5", "0.999", "1e-300", "1e-9", "3", "007", "+1", "-1e-9", "1.0")


@dataclass(frozen=True)
class Option:
    """One numeric option.

    Attributes:
        words: a good call of the command without it.
        flag: as it is typed.
        whole: whether it is a whole number.
        tokens: how many numbers follow it.
    """

    words: tuple[str, ...]
    flag: str
    whole: bool
    tokens: int = 1


def options() -> list[Option]:
    """All of them."""
    found = []
    for command in COMMANDS:
        for words, leaf in _leaves(command):
            for argument in leaf.assemble_argument_collection():
                kinds = _kinds(argument.hint)
                if kinds & {int, float}:
                    more = _selector(command, words, argument.field_info.name)
                    tokens = max(1, argument.token_count()[0])
                    found.append(Option((*words, *more), argument.name, float not in kinds, tokens))
    return found


def _leaves(command: str) -> list[tuple[tuple[str, ...], App]]:
    inner = app[command]
    if inner.default_command is not None:
        return [((command, *CALLS[command]), inner)]
    inside = [name for name in inner.resolved_commands() if not name.startswith("-")]
    more = {"logit-offset": EVIDENCE}
    return [((command, name, *CALLS[command], *more.get(name, ())), inner[name]) for name in inside]


def _selector(command: str, words: tuple[str, ...], number: str) -> tuple[str, ...]:
    """The selector that takes a number, where the command has one."""
    if command != "repair" and "logit-offset" not in words:
        return ()
    takes = [name for name in names("selectors") if number in describe("selectors", name).numbers]
    return ("--select", takes[-1]) if takes else ()


def _kinds(hint: Any) -> set[Any]:
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType, tuple, list):
        return set().union(*(_kinds(part) for part in get_args(hint)))
    return {hint} if isinstance(hint, type) else set()


def _strategy(folder: Path) -> st.SearchStrategy[Any]:
    def of(option: Option) -> st.SearchStrategy[Any]:
        wrong = st.sampled_from(NEVER + (NO_COUNT if option.whole else ()))
        perhaps = st.just("nan") if option.words[0] in SLOW else st.sampled_from(PERHAPS)
        return st.tuples(st.just(option), st.one_of(wrong, wrong, perhaps))

    return st.sampled_from(options()).flatmap(of)


def _fault(folder: Path, tried: tuple[Option, str]) -> tuple[str, bool]:
    option, value = tried
    bad = True if value in NEVER or (option.whole and value in NO_COUNT) else None
    try:
        words = _without(option.words, option.flag)
        outcome = ran(folder, *words, option.flag, *[value] * option.tokens, "--quiet")
    finally:
        for path in [*folder.glob("o"), *folder.glob("o.*"), *folder.glob("o-*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return fault_of(outcome, bad=bad), outcome.code == 2


def _without(words: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """The call without a flag and its value."""
    if flag not in words:
        return words
    at = words.index(flag)
    return words[:at] + words[at + 2 :]


OPTIONS = Kind("numeric options", _strategy, _fault, weight=5)
