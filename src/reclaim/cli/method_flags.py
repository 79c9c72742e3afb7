"""Flags that a method's own file declares: its keyword arguments, with their types, defaults and help."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from inspect import Parameter as Argument
from inspect import signature
from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from reclaim.cli.naming import named
from reclaim.core.errors import BadInput
from reclaim.core.registry import Method, describe, names

__all__ = ["family", "flag", "given_numbers", "own_numbers", "selector_numbers", "with_numbers"]

Command: TypeAlias = Callable[..., None]


def own_numbers(family: str, name: str) -> dict[str, Argument]:
    """A method's own keyword arguments as flags with their help."""
    method = describe(family, name)
    return {
        key: flag(argument, method.help.get(key, ""), method.formerly.get(key))
        for key, argument in method.numbers.items()
    }


def selector_numbers(*more: Method) -> dict[str, Argument]:
    """The flags of all selectors, and `more` ways to an offset, together. None stands for a selector's own default."""
    flags: dict[str, Argument] = {}
    for method in [*(describe("selectors", name) for name in names("selectors")), *more]:
        for key, argument in method.numbers.items():
            text = method.help.get(key, "")
            default = " ".join(map(str, argument.default)) if isinstance(argument.default, tuple) else argument.default
            text += f" Default: {default}." if default is not None else ""
            optional = argument.replace(default=None, annotation=argument.annotation | None)
            flags.setdefault(key, flag(optional, f"({method.name}) {text}"))
    return flags


def given_numbers(selector: str, numbers: dict[str, Any], takes: Collection[str] | None = None) -> dict[str, Any]:
    """The flags that were given, all of which the selector must have; `takes`, if its file does not tell which."""
    given = {key: value for key, value in numbers.items() if value is not None}
    takes = describe("selectors", selector).numbers if takes is None else takes
    if extra := [named(key) for key in given if key not in takes]:
        own = ", ".join(map(named, takes)) or "none"
        raise BadInput(f"the selector {selector!r} does not take {', '.join(extra)}; its flags: {own}.")
    return given


def with_numbers(numbers: Mapping[str, Argument]) -> Callable[[Command], Command]:
    """A decorator: what the function takes as ``**numbers`` becomes these flags."""

    def made(function: Command) -> Command:
        def command(*args: Any, **kwargs: Any) -> None:
            function(*args, **kwargs)

        own = [p for p in signature(function).parameters.values() if p.kind is not Argument.VAR_KEYWORD]
        command.__signature__ = signature(function).replace(parameters=own + list(numbers.values()))  # type: ignore[attr-defined]
        command.__doc__ = function.__doc__
        return command

    return made


def family(kind: str, function: Command, *, leave_out: Collection[str] = ()) -> App:
    """Commands of a family, one per method: `function`, given the method's name first and its own numbers as flags.

    Args:
        kind: the family, as the registry calls it.
        function: its docstring begins with ``{summary}``, for which each method's own stands.
        leave_out: methods that are no such commands.
    """
    app = App(name=function.__name__)
    for name in names(kind):
        if name not in leave_out:
            command = with_numbers(own_numbers(kind, name))(partial(function, name))
            command.__doc__ = (function.__doc__ or "").replace("{summary}", describe(kind, name).summary)
            app.command(command, name=name)
    return app


def flag(argument: Argument, text: str, formerly: str | None = None) -> Argument:
    """A flag with help, also under its former name; a switch can also be switched off, and several values may follow
    one flag."""
    negative = named(f"no_{argument.name}") if argument.annotation in (bool, bool | None) else ()
    alias = () if formerly is None else named(formerly)
    about = Parameter(help=text, negative=negative, alias=alias, consume_multiple=True)
    return argument.replace(annotation=Annotated[argument.annotation, about])
