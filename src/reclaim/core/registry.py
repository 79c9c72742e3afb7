"""The folder is the registry: one file per method, found by its name and described by reading, not importing, it."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any

from reclaim.core.errors import unknown
from reclaim.core.numbers import kind_of

__all__ = ["FAMILIES", "Method", "arguments_of", "describe", "describe_file", "find", "names"]

# what users call a family, and the folder it is in
FAMILIES = {
    "recipes": "training/recipes",
    "merges": "models/merges",
    "calibrators": "calibration/calibrators",
    "selectors": "calibration/selectors",
    "diagnoses": "report/diagnoses",
    "models": "models/libraries",
    "data": "data/sources",
    "papers": "papers/published",
}


@dataclass(frozen=True)
class Method:
    """A method as its file tells it.

    Attributes:
        name: as on the command line, lower case with hyphens.
        summary: the first line of its docstring.
        source: the paper or place it comes from.
        needs: what running it takes beside this package; of papers.
        help: the lines of its docstring's `Args`, by argument.
        numbers: its own keyword-only parameters, with defaults and types.
        formerly: what those of them that were renamed were called, by today's name.
    """

    name: str
    summary: str
    source: str
    needs: str
    help: dict[str, str]
    numbers: dict[str, Parameter]
    formerly: dict[str, str]

    def renamed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record of arguments, in which those that were renamed stand under today's names."""
        today = {former: now for now, former in self.formerly.items()}
        return {today.get(key, key): value for key, value in record.items()}


def names(family: str) -> list[str]:
    """The methods of a family, in alphabetical order."""
    files = _folder(family).glob("*.py")
    return sorted(file.stem.replace("_", "-") for file in files if not file.stem.startswith("_"))


def find(family: str, name: str) -> Any:
    """The function that has its file's name, or the class that has it in capitals (``logit_offset.LogitOffset``).

    A name that a method had formerly finds it too.
    """
    stem = _today(family, name).replace("-", "_")
    module = importlib.import_module(f"reclaim.{FAMILIES[family].replace('/', '.')}.{stem}")
    return getattr(module, stem, None) or getattr(module, _capitals(stem))


@cache
def describe(family: str, name: str) -> Method:
    """What a method's file says of it. Nothing is imported, so that help costs no torch.

    ``FORMERLY = {"alpha": "weight"}`` in the file says what an argument, or the method itself, was called before.
    """
    return describe_file(_file(family, _today(family, name)))


@cache
def describe_file(path: Path) -> Method:
    """What a file says of the method that has its name, wherever it lies."""
    stem, body = path.stem, _body(path)
    name = stem.replace("_", "-")
    main = _definition(body, stem, _capitals(stem))
    maker = main if isinstance(main, ast.FunctionDef) else _definition(main.body, "fit")
    docs = ast.get_docstring(main) or ""
    return Method(
        name=name,
        summary=docs.partition("\n")[0].rstrip("."),
        source=_sentence(docs, "Source"),
        needs=_sentence(docs, "Needs"),
        help=arguments_of(ast.get_docstring(maker) or "") if maker else {},
        numbers=_numbers(maker) if maker else {},
        formerly={now: former for now, former in _formerly(body).items() if now != name},
    )


def arguments_of(docs: str, section: str = "Args") -> dict[str, str]:
    """What a section of a docstring says of each argument or attribute, joined where it runs on."""
    lines = "\n".join(_section(docs, section))
    return {
        name: " ".join(text.split())
        for name, text in re.findall(r"^    (\w+): (.+(?:\n     +.+)*)", lines, re.MULTILINE)
    }


def _folder(family: str) -> Path:
    return Path(__file__).parent.parent / FAMILIES[family]


def _today(family: str, name: str) -> str:
    """The name of the method that is called so, or was.

    Raises: BadInput if there is none.
    """
    known = names(family)
    for method in known if name not in known else ():
        if _formerly(_body(_file(family, method))).get(method) == name:
            return method
    if name not in known:
        raise unknown({"diagnoses": "diagnosis", "data": "data source"}.get(family, family[:-1]), name, known)
    return name


def _file(family: str, name: str) -> Path:
    return _folder(family) / f"{name.replace('-', '_')}.py"


def _body(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body


def _formerly(body: list[ast.stmt]) -> dict[str, str]:
    """What the file's ``FORMERLY`` holds."""
    values = [n.value for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "FORMERLY"]
    return ast.literal_eval(values[0]) if values else {}


def _capitals(stem: str) -> str:
    return "".join(part.capitalize() for part in stem.split("_"))


def _definition(body: list[ast.stmt], *wanted: str) -> Any:
    return next((n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name in wanted), None)


def _section(docs: str, title: str) -> list[str]:
    """The lines of the section `title:`, up to the next line that is not indented."""
    found = re.search(rf"^{title}:(.*(?:\n +.*)*)", docs, re.MULTILINE)
    return [line.rstrip() for line in found[1].strip("\n").split("\n")] if found else []


def _sentence(docs: str, title: str) -> str:
    """The section in one line."""
    return " ".join(" ".join(_section(docs, title)).split()).rstrip(".")


def _numbers(function: ast.FunctionDef) -> dict[str, Parameter]:
    """Keyword-only parameters. Annotations may use builtins, Literal and `core.numbers`, defaults must be literals."""
    result = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        annotation = (argument.annotation and kind_of(ast.unparse(argument.annotation))) or str
        value = Parameter.empty if default is None else ast.literal_eval(default)
        result[argument.arg] = Parameter(argument.arg, Parameter.KEYWORD_ONLY, default=value, annotation=annotation)
    return result
