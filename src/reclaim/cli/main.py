"""The program: the verb is the family, the next word the method, flags are keyword arguments.

The folder `commands` is the list of commands. They are imported when they run, so that ``--help`` imports no torch.
"""

import ast
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, Parameter

import reclaim
from reclaim.cli.flags import STARTED
from reclaim.cli.naming import flag_of
from reclaim.cli.said import say_on_stderr
from reclaim.core import progress
from reclaim.core.errors import BadInput, BadKind

__all__ = ["COMMANDS", "about", "app", "main"]

app = App(
    name="reclaim",
    help="Fine-tune without losing what your model knew: diagnose what fine-tuning damaged, and repair it.",
    version=reclaim.__version__,
    help_format="markdown",
    default_parameter=Parameter(negative=()),  # no --no-json for every --json
)

COMMANDS = sorted(path.stem for path in (Path(__file__).parent / "commands").glob("[!_]*.py"))


def about(command: str) -> str:
    """What a command does, as the docstring of its file's function `command` says, or that of the file without one.

    Nothing is imported, so that help costs no torch.
    """
    file = ast.parse((Path(__file__).parent / "commands" / f"{command}.py").read_text(encoding="utf-8"))
    functions = (node for node in file.body if isinstance(node, ast.FunctionDef) and node.name == "command")
    return (ast.get_docstring(next(functions, file)) or "").partition("\n\nArgs:")[0]


for _name in COMMANDS:
    app.command(f"reclaim.cli.commands.{_name}:command", name=_name, help=about(_name))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command: exit code 0 done, 2 a wrong call or bad input, with one message and no traceback."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    STARTED.set(time.monotonic())
    progress.silence("--quiet" in tokens)
    say_on_stderr()
    if "--debug" not in tokens:
        warnings.simplefilter("ignore")
    said = logging.StreamHandler()
    said.setFormatter(logging.Formatter("reclaim: %(message)s"))
    log = logging.getLogger("reclaim")
    log.addHandler(said)
    log.setLevel(logging.WARNING if "--quiet" in tokens else logging.INFO)
    try:
        app(tokens)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        _stop("stopped.", 130)
    except (BadInput, BadKind, OSError) as error:
        if "--debug" in tokens:
            raise
        _stop(_message(error), 2)
    finally:
        log.removeHandler(said)


def _message(error: Exception) -> str:
    if isinstance(error, BadInput):
        return error.said(flag_of)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _stop(message: str, code: int) -> None:
    sys.stderr.write(f"reclaim: {message}\n")
    raise SystemExit(code)
