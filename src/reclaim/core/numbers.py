"""What numbers are: the types with ranges that signatures name, and their one check, for the shell and for Python.

``def fit(rows, *, bins: Count = 15)`` declares a range; `in_range` refuses what lies outside it before the function
begins, and a dataclass calls `check_fields` once it has its values. NaN, infinities, truth values and fractions where
whole numbers are meant lie outside every range.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeAlias, TypeVar, Union, get_args, get_origin

from reclaim.core.errors import Argument, BadInput, few

__all__ = [
    "BadNumber",
    "Bytes",
    "Count",
    "Few",
    "InnerShare",
    "NotNegative",
    "Pixels",
    "Positive",
    "Seed",
    "Share",
    "Whole",
    "Within",
    "Workers",
    "check_argument",
    "check_arguments",
    "check_fields",
    "in_range",
    "kind_of",
    "kinds_of",
]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Within:
    """The range of a number.

    Attributes:
        least, most: its ends.
        inner: whether the ends themselves lie outside.
    """

    least: float
    most: float = math.inf
    inner: bool = False

    def has(self, value: float) -> bool:
        """Whether a finite number lies inside."""
        return self.least < value < self.most if self.inner else self.least <= value <= self.most

    def __str__(self) -> str:
        if self.most == math.inf:
            return f"above {self.least:g}" if self.inner else f"of at least {self.least:g}"
        ends = [f"{end:g}" if abs(end) < 1e6 else f"{end:.0f}" for end in (self.least, self.most)]
        return f"{'strictly ' * self.inner}between {ends[0]} and {ends[1]}"


Whole: TypeAlias = Annotated[int, Within(0, 1_000_000_000)]
Count: TypeAlias = Annotated[int, Within(1, 1_000_000_000)]
Workers: TypeAlias = Annotated[int, Within(0, 1_000)]
Pixels: TypeAlias = Annotated[int, Within(1, 65_535)]  # of one side
Few: TypeAlias = Annotated[int, Within(1, 100_000)]  # of what takes memory: bins, hidden units
Bytes: TypeAlias = Annotated[int, Within(1, 2**62)]  # of bytes
Seed: TypeAlias = Annotated[int, Within(0, 2**32 - 1)]  # what torch, numpy and scikit-learn all take
Share: TypeAlias = Annotated[float, Within(0, 1)]
InnerShare: TypeAlias = Annotated[float, Within(0, 1, inner=True)]
Positive: TypeAlias = Annotated[float, Within(0, inner=True)]
NotNegative: TypeAlias = Annotated[float, Within(0)]

_KNOWN = vars(builtins) | {
    "Annotated": Annotated,
    "Count": Count,
    "Few": Few,
    "Bytes": Bytes,
    "InnerShare": InnerShare,
    "Literal": Literal,
    "NotNegative": NotNegative,
    "Pixels": Pixels,
    "Positive": Positive,
    "Seed": Seed,
    "Share": Share,
    "Whole": Whole,
    "Workers": Workers,
    "Within": Within,
}


class BadNumber(BadInput):
    """A number of the wrong kind, or outside its range.

    Attributes:
        argument: what it was given for.
        problem: what it must be, and what it is.
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument} {problem}")
        self.argument, self.problem = argument, problem

    def said(self, name: Callable[[Argument], str]) -> str:
        """The message, with the argument called as `name` calls it."""
        return super().said(name) if name is str else f"{name(Argument(self.argument, value=''))} {self.problem}"


def kind_of(annotation: Any) -> Any:
    """The type that an annotation of a signature stands for; None for one that names more than numbers and texts."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(_KNOWN))
    except (NameError, TypeError, AttributeError):
        return None


def kinds_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of the arguments of a function that are numbers, or one of a few texts."""
    given = {name: kind_of(each.annotation) for name, each in signature(function).parameters.items()}
    return {name: kind for name, kind in given.items() if _is_checked(kind)}


def in_range(function: Callable[P, R]) -> Callable[P, R]:
    """A function that refuses numbers outside the ranges of its signature before it begins.

    Raises: BadNumber for such a number.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        kinds = _kinds(function)
        for name, value in {**dict(zip(_positions(function), args, strict=False)), **kwargs}.items():
            if name in kinds:
                check_argument(name, value, kinds[name])
        return function(*args, **kwargs)

    return call


def check_arguments(kinds: Mapping[str, Any], values: Mapping[str, object]) -> None:
    """Check those of several arguments whose types hold numbers."""
    for name, value in values.items():
        if name in kinds and _is_checked(kinds[name]):
            check_argument(name, value, kinds[name])


def check_fields(record: Any) -> None:
    """Raise unless every number of a dataclass lies in the range that the class declares for it."""
    for field in fields(record):
        kind = kind_of(field.type)
        if _is_checked(kind):
            check_argument(field.name, getattr(record, field.name), kind)


def check_argument(name: str, value: object, kind: Any) -> None:
    """Raise unless a value is of its kind and inside its range.

    Raises: BadNumber with the name, what it must be, and the value.
    """
    kinds = _parts(kind)
    if not any(_fits(value, one) for one in kinds):
        words = sorted(filter(None, map(_words, kinds)), key=len)
        raise BadNumber(name, f"must be {' or '.join(words)}; given: {_given(value)}.")


_kinds = cache(kinds_of)


@cache
def _positions(function: Callable[..., Any]) -> list[str]:
    parameters = signature(function).parameters.values()
    return [each.name for each in parameters if each.kind in (Parameter.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]


def _parts(kind: Any) -> tuple[Any, ...]:
    """The members of a union; an alias with more to say (the flag of a command line) is looked into."""
    if get_origin(kind) is Annotated and not _range(kind):
        return _parts(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return tuple(part for member in get_args(kind) for part in _parts(member))
    return (kind,)


def _range(kind: Any) -> Within | None:
    return next((one for one in get_args(kind)[1:] if isinstance(one, Within)), None)


def _base(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _elements(kind: Any) -> Any:
    """The type of each element of a tuple type; None for no such type."""
    return get_args(kind)[0] if get_origin(kind) is tuple else None


def _is_checked(kind: Any) -> bool:
    """Whether a type holds numbers or given texts, and nothing else that is not known here."""
    parts = [_elements(part) or part for part in _parts(kind)]
    known = all(_base(part) in (int, float, bool, NoneType, None) or get_origin(part) is Literal for part in parts)
    return known and any(part not in (NoneType, None) for part in parts)


def _fits(value: object, kind: Any) -> bool:
    if kind in (NoneType, None):
        return value is None
    if get_origin(kind) is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(kind))
    if (element := _elements(kind)) is not None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        return all(any(_fits(one, part) for part in _parts(element)) for one in value)
    base, inside = _base(kind), _range(kind)
    if base is bool or isinstance(value, bool):
        return base is bool and isinstance(value, bool)
    if not isinstance(value, Integral | Real) or (base is int and not isinstance(value, Integral)):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    return math.isfinite(number) and (inside is None or inside.has(number))


def _words(kind: Any) -> str:
    """What a value must be: ``a whole number of at least 1``."""
    if kind in (NoneType, None):
        return ""
    if get_origin(kind) is Literal:
        return f"one of {few(get_args(kind), 9)}" if len(get_args(kind)) > 1 else f"{get_args(kind)[0]}"
    if (element := _elements(kind)) is not None:
        return f"several, each {_words(_parts(element)[0])}"
    if _base(kind) is bool:
        return "true or false"
    inside = _range(kind)
    return f"a {'whole ' * (_base(kind) is int)}number{f' {inside}' if inside else ''}"


def _given(value: object) -> str:
    """The value, shortened where it is long."""
    shown = repr(value) if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
