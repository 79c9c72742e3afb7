"""From words to a call: strict numbers, names that others use for a flag, and one sentence for a wrong call."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, Token, convert
from cyclopts.argument import Argument, ArgumentCollection
from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from reclaim.cli.naming import OTHERS, named
from reclaim.core.errors import BadInput, BadKind, few
from reclaim.core.nearest import nearest
from reclaim.core.numbers import check_arguments

__all__ = ["call_of", "converted", "is_ours"]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


def call_of(app: App, tokens: Sequence[str]) -> Callable[[], object]:
    """The command that the words call, with its arguments, all numbers in their ranges.

    Raises: BadInput for a wrong call, with what is missing, or what a word that is nearly right should be.
    """
    _, apps, _ = app.parse_commands(list(tokens))
    words = list(tokens)
    if {token.partition("=")[0] for token in tokens} & {other for others in OTHERS.values() for other in others}:
        flags = _flags(apps[-1])
        words = [_today(token, flags) for token in tokens]
    try:
        command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise _refused(error, words, _flags(apps[-1]), apps) from error
    kinds = {name: each.annotation for name, each in signature(command).parameters.items()}
    check_arguments(kinds, bound.arguments)
    return partial(command, *bound.args, **bound.kwargs)


def is_ours(call: Callable[[], object]) -> bool:
    """Whether it is a command, and not a page of help."""
    return isinstance(call, partial) and call.func.__module__.startswith("reclaim.")


def converted(kind: Any, tokens: Sequence[Token] | dict[str, Any]) -> Any:
    """What words stand for, with numbers as people write them: neither 0x10 nor 1_000, neither 1.5 for 2 nor nan."""
    return convert(kind, tokens, converter=_one)


def _one(kind: Any, value: str) -> Any:
    if kind is int:
        if not WHOLE.fullmatch(value) or len(value) > 30:
            raise BadInput(f"takes a whole number; given: {value:.40}.")
        return int(value)
    if kind is float:
        if not NUMBER.fullmatch(value) or not math.isfinite(float(value)):
            raise BadInput(f"takes a number; given: {value:.40}.")
        return float(value)
    return convert(kind, [value])


def _flags(app: App) -> ArgumentCollection:
    """The flags of a command; none of a word that is no command, or asks for help."""
    ours = app.default_command is not None and app.default_command.__module__.startswith("reclaim.")
    return app.assemble_argument_collection() if ours else ArgumentCollection()


def _names(flags: ArgumentCollection) -> list[str]:
    return [name for flag in flags if flag.parse for name in flag.names if name.startswith("-")]


def _today(token: str, flags: ArgumentCollection) -> str:
    """The word, with the flag that this command has for another name of it."""
    word, equals, value = token.partition("=")
    names = _names(flags)
    if word in names or not word.startswith("-"):
        return token
    own = next((named(name) for name, others in OTHERS.items() if word in others and named(name) in names), None)
    return token if own is None else f"{own}{equals}{value}"


def _refused(error: CycloptsError, words: list[str], flags: ArgumentCollection, apps: Sequence[App]) -> Exception:
    """One sentence for a wrong call."""
    cause = _ours(error)
    if isinstance(error, UnknownCommandError):
        known = [name for name in apps[-1].resolved_commands() if not name.startswith("-")]
        (word, *_) = error.unused_tokens or [""]
        near = nearest(word, known)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return BadInput(f"no command {word!r}; there are: {', '.join(known)}.{hint}")
    unknown = [word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)]
    unknown = [word for word in unknown if word not in [*_names(flags), "--help", "-h", "--version"]]
    if unknown and isinstance(error, MissingArgumentError | UnknownOptionError | UnusedCliTokensError):
        near = nearest(unknown[0], _names(flags), cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"there are: {few(_own_flags(flags), 30)}."
        return BadInput(f"there is no flag {unknown[0]}; {hint}")
    if cause is not None:
        return _about(error, cause)
    if isinstance(error, MissingArgumentError):
        return _missing(error, words, flags)
    if isinstance(error, UnusedCliTokensError):
        return BadInput(f"too many words: {few(error.unused_tokens or [])}. A value of several words needs quotes.")
    if isinstance(error, CoercionError):
        return _coerced(error)
    return BadInput(f"{error}".strip())


def _ours(error: BaseException) -> BadInput | BadKind | None:
    """The error of this package that the shell's library wrapped into its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, BadInput | BadKind):
        cause = cause.__cause__ or cause.__context__
    return cause


def _about(error: CycloptsError, cause: BadInput | BadKind) -> Exception:
    """The error with the flag in front, where it does not name one."""
    if not str(cause).startswith("takes "):
        return cause
    return BadInput(f"{_called(error)} {cause}")


def _called(error: CycloptsError) -> str:
    token = error.token if isinstance(error, CoercionError) else None
    if token is None and error.argument:
        token = next(iter(error.argument.tokens), None)
    if token is not None and token.keyword:
        return str(token.keyword)
    return error.argument.name.lstrip("-").upper() if error.argument else "an argument"


def _missing(error: MissingArgumentError, words: list[str], flags: ArgumentCollection) -> BadInput:
    given = {word.partition("=")[0] for word in words}
    argument = error.argument
    if argument is not None and (used := [name for name in argument.names if name in given]):
        return BadInput(f"{used[0]} needs a value.")
    lacking = [flag for flag in flags if flag.required and flag.field_info.is_keyword_only]
    lacking = [flag for flag in lacking if not given & set(flag.names)]
    if argument is not None and argument not in lacking and not argument.field_info.is_keyword_only:
        lacking.insert(0, argument)
    return BadInput(f"missing: {', '.join(map(_label, lacking))}.")


def _label(flag: Argument) -> str:
    return flag.name if flag.field_info.is_keyword_only else flag.name.lstrip("-").upper()


def _own_flags(flags: ArgumentCollection) -> list[str]:
    return [flag.name for flag in flags if flag.parse and flag.name.startswith("--")]


def _coerced(error: CoercionError) -> BadInput:
    value = error.token.value if error.token else ""
    if get_origin(error.target_type) is Literal:
        known = [str(one) for one in get_args(error.target_type)]
        near = nearest(value, known)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return BadInput(f"{_called(error)} is one of {', '.join(known)}; given: {value:.40}.{hint}")
    return BadInput(f"{_called(error)} cannot be {value!r:.40}.")
