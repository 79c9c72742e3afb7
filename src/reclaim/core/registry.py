"""The folder is the registry: one file per method, found by its name and described by reading, not importing, it."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal

from reclaim.core.errors import unknown

__all__ = ["FAMILIES", "Method", "describe", "find", "names"]

# what users call a family, and the folder it is in
FAMILIES = {
    "recipes": "training/recipes",
    "merges": "models/merges",
    "calibrators": "calibration/calibrators",
    "selectors": "calibration/selectors",
    "diagnoses": "report/diagnoses",
    "models": "models/libraries",
    "data": "data/sources",
}


@dataclass(frozen=True)
class Method:
    """A method as its file tells it.

    Attributes:
        name: as on the command line, lower case with hyphens.
        summary: the first line of its docstring.
        source: the paper or place it comes from.
        help: the lines of its docstring's `Args`, by argument.
        numbers: its own keyword-only parameters, with defaults and types.
    """

    name: str
    summary: str
    source: str
    help: dict[str, str]
    numbers: dict[str, Parameter]


def names(family: str) -> list[str]:
    """The methods of a family, in alphabetical order."""
    files = _folder(family).glob("*.py")
    return sorted(file.stem.replace("_", "-") for file in files if not file.stem.startswith("_"))


def find(family: str, name: str) -> Any:
    """The function that has its file's name, or the class that has it in capitals (``logit_offset.LogitOffset``)."""
    _check(family, name)
    stem = name.replace("-", "_")
    module = importlib.import_module(f"reclaim.{FAMILIES[family].replace('/', '.')}.{stem}")
    return getattr(module, stem, None) or getattr(module, _capitals(stem))


@cache
def describe(family: str, name: str) -> Method:
    """What a method's file says of it. Nothing is imported, so that help costs no torch."""
    _check(family, name)
    stem = name.replace("-", "_")
    path = _folder(family) / f"{stem}.py"
    main = _definition(ast.parse(path.read_text(encoding="utf-8")).body, stem, _capitals(stem))
    maker = main if isinstance(main, ast.FunctionDef) else _definition(main.body, "fit")
    docs = ast.get_docstring(main) or ""
    return Method(
        name=name,
        summary=docs.partition("\n")[0].rstrip("."),
        source=" ".join(" ".join(_section(docs, "Source")).split()).rstrip("."),
        help=_arguments(_section(ast.get_docstring(maker) or "", "Args")) if maker else {},
        numbers=_numbers(maker) if maker else {},
    )


def _folder(family: str) -> Path:
    return Path(__file__).parent.parent / FAMILIES[family]


def _check(family: str, name: str) -> None:
    if name not in names(family):
        raise unknown({"diagnoses": "diagnosis", "data": "data source"}.get(family, family[:-1]), name, names(family))


def _capitals(stem: str) -> str:
    return "".join(part.capitalize() for part in stem.split("_"))


def _definition(body: list[ast.stmt], *wanted: str) -> Any:
    return next((n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name in wanted), None)


def _section(docs: str, title: str) -> list[str]:
    """The lines of the section `title:`, up to the next line that is not indented."""
    found = re.search(rf"^{title}:(.*(?:\n +.*)*)", docs, re.MULTILINE)
    return [line.rstrip() for line in found[1].strip("\n").split("\n")] if found else []


def _arguments(lines: list[str]) -> dict[str, str]:
    """What each argument's lines say, joined where they run on."""
    found = re.findall(r"^    (\w+): (.+(?:\n     +.+)*)", "\n".join(lines), re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _numbers(function: ast.FunctionDef) -> dict[str, Parameter]:
    """Keyword-only parameters. Annotations may use builtins and Literal, defaults must be literals."""
    result = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        annotation = eval(ast.unparse(argument.annotation), {"Literal": Literal}) if argument.annotation else str
        value = Parameter.empty if default is None else ast.literal_eval(default)
        result[argument.arg] = Parameter(argument.arg, Parameter.KEYWORD_ONLY, default=value, annotation=annotation)
    return result
