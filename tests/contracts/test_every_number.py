"""Every number of every method, record and command has a kind and a range, and what lies outside is refused at once."""

import math
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from typing import Any, get_args

import pytest

import reclaim
from reclaim.cli.flags import Inputs
from reclaim.cli.main import COMMANDS, app
from reclaim.core.errors import BadInput, BadKind
from reclaim.core.numbers import BadNumber, InnerShare, Seed, Share, Within, check_argument, in_range, kind_of
from reclaim.core.registry import FAMILIES, describe, find, names
from reclaim.snapshots.metrics import (
    absent_probability,
    bootstrap,
    brier,
    by_name,
    calibration_error,
    classwise,
    confidence,
    reliability,
)
from reclaim.snapshots.probabilities import logarithm

HOSTILE = (math.nan, math.inf, -math.inf, -1, -0.5, True, 10**400, "x", "nan", None, [1], 1j)
FRACTIONS = (1.5, 2.0, 0.5)
RECORDS = (reclaim.Budget, reclaim.Inference, reclaim.Choices, reclaim.Preprocess, Inputs)
METRICS = (absent_probability, bootstrap, brier, by_name, calibration_error, classwise, confidence, reliability)
FREE = {"mean", "std"}  # of images: any numbers, one per channel


def is_number(kind: Any) -> bool:
    """Whether numbers are among what a type holds."""
    return kind in (int, float) or any(is_number(part) for part in get_args(kind))


def ranges(kind: Any) -> list[Within]:
    return [part for part in get_args(kind) if isinstance(part, Within)] + [
        found for part in get_args(kind) for found in ranges(part)
    ]


def of_methods() -> Iterator[tuple[str, str, Any]]:
    for family in FAMILIES:
        for name in names(family):
            for key, each in describe(family, name).numbers.items():
                if is_number(each.annotation):
                    yield f"{family} {name} {key}", key, each.annotation


def of_records() -> Iterator[tuple[str, str, Any]]:
    for record in RECORDS:
        for field in fields(record):
            if is_number(kind := kind_of(field.type)) and field.name not in FREE:
                yield f"{record.__name__} {field.name}", field.name, kind


def of_commands() -> Iterator[tuple[str, str, Any]]:
    for name in COMMANDS:
        command = app[name]
        inner = [n for n in command.resolved_commands() if not n.startswith("-")] if not command.default_command else []
        for each in [command[n] for n in inner] or [command]:
            for key, parameter in signature(each.default_command).parameters.items():
                if is_number(parameter.annotation):
                    yield f"{name} {each.name[0]} {key}", key, parameter.annotation


EVERY = [*of_methods(), *of_records(), *of_commands()]


@pytest.mark.parametrize(("key", "kind"), [one[1:] for one in EVERY], ids=[one[0] for one in EVERY])
def test_every_number_has_a_range_and_refuses_what_lies_outside(key: str, kind: Any) -> None:
    assert ranges(kind), f"{key} has no range"
    whole = not any(part is float for part in _leaves(kind))
    takes_none = type(None) in _leaves(kind)
    for value in HOSTILE + (FRACTIONS if whole else ()):
        if value is None and takes_none:
            continue
        with pytest.raises(BadNumber, match=f"^{key} must be "):
            check_argument(key, value, kind)


def _leaves(kind: Any) -> list[Any]:
    return [leaf for part in get_args(kind) for leaf in _leaves(part)] or [kind]


@pytest.mark.parametrize("family", ["recipes", "merges", "calibrators", "selectors", "data"])
def test_python_refuses_what_the_shell_refuses_before_it_looks_at_anything_else(family: str) -> None:
    """Nothing but the numbers is given: what is refused is not looked at."""
    for name in names(family):
        method = find(family, name)
        call = getattr(method, "fit", method) if family == "calibrators" else method
        for key, each in describe(family, name).numbers.items():
            if ranges(each.annotation):
                for value in (math.nan, -math.inf, -1, True, "x"):
                    with pytest.raises(BadNumber, match=f"^{key} must be "):
                        call(**{key: value})


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_refuse_such_numbers_when_they_are_made(record: Any) -> None:
    for field in fields(record):
        if is_number(kind_of(field.type)) and field.name not in FREE:
            for value in (math.nan, -math.inf, -1, 1e400, True, "x"):
                with pytest.raises((BadInput, BadKind)):
                    record(**{field.name: value})


def test_metrics_refuse_such_numbers_too() -> None:
    found = 0
    functions = [getattr(module, name) for module in METRICS for name in module.__all__] + [logarithm]
    for function in (one for one in functions if hasattr(one, "__wrapped__")):
        for key, each in signature(function).parameters.items():
            if ranges(kind_of(each.annotation)):
                found += 1
                for value in (math.nan, -1, True, "x"):
                    with pytest.raises(BadNumber, match=f"^{key} must be "):
                        function(**{key: value})
    assert found >= 15


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "0x10", "1_0", "x", "1.5", "²", "٣", "true", "-1"])
@pytest.mark.parametrize("flag", ["--epochs", "--batch-size", "--seed", "--accumulate", "--steps", "--image-size"])
def test_the_shell_takes_whole_numbers_as_people_write_them(reclaim, flag: str, value: str) -> None:
    done = reclaim("tune", "fine-tune", "--model", "m", "--data", "d", "--out", "o", flag, value)
    assert done.code == 2 and done.err.startswith(f"reclaim: {flag} ") and done.err.count("\n") == 1 and not done.out


def test_the_ends_of_a_range_are_inside_or_outside_as_declared() -> None:
    @in_range
    def call(*, inner: InnerShare = 0.5, outer: Share = 0.5, seed: Seed = 0) -> bool:
        return True

    assert call(outer=0) and call(outer=1.0) and call(seed=2**32 - 1) and call(inner=1e-9)
    for wrong in ({"inner": 0}, {"inner": 1}, {"outer": 1.0001}, {"seed": 2**32}, {"outer": -1e-9}):
        with pytest.raises(BadNumber):
            call(**wrong)
