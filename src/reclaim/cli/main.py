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
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path

from cyclopts import App, Parameter

import reclaim
from reclaim.cli.calls import call_of, converted, is_ours
from reclaim.cli.flags import OPENED, STARTED, STDOUT
from reclaim.cli.help import Flowing
from reclaim.cli.naming import OTHERS, flag_of
from reclaim.cli.places import check_tokens
from reclaim.cli.said import InTheShellsWords
from reclaim.core import progress
from reclaim.core.errors import BadInput, BadKind
from reclaim.core.several import at_work, rank, started
from reclaim.core.stopping import Signals, Stopped, stopping
from reclaim.core.terminal import Spoken, say
from reclaim.core.workspace import reserved

__all__ = ["COMMANDS", "about", "app", "main"]

app = App(
    name="reclaim",
    help="Fine-tune without losing what your model knew: diagnose what fine-tuning damaged, and repair it.\n\n"
    f"Flags have the field's other names too: {', '.join(others[0] for others in OTHERS.values())}.",
    version=reclaim.__version__,
    help_format="plaintext",
    help_formatter=Flowing(),
    default_parameter=Parameter(negative=(), converter=converted),  # no --no-json for every --json
)

SEVERAL = ("calibrate", "evaluate", "predict", "tune")  # what several processes do together

COMMANDS = sorted(path.stem for path in (Path(__file__).parent / "commands").glob("[!_]*.py"))


def about(command: str) -> str:
    """What a command does, as the docstring of its file's function `command` says, or that of the file without one.

    Nothing is imported, so that help costs no torch.
    """
    file = ast.parse((Path(__file__).parent / "commands" / f"{command}.py").read_text(encoding="utf-8"))
    functions = (node for node in file.body if isinstance(node, ast.FunctionDef) and node.name == "command")
    text = ast.get_docstring(next(functions, file))
    assert text is not None, f"{command} does not say what it does"
    return text.partition("\n\nArgs:")[0]


for _name in COMMANDS:
    app.command(f"reclaim.cli.commands.{_name}:command", name=_name, help=about(_name))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command: exit code 0 done, 2 a wrong call or bad input, with one message and no traceback.

    130 stands for Ctrl-C and 143 for SIGTERM. Standard output holds what was asked for, and what libraries print goes
    to standard error.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    STARTED.set(time.monotonic())
    OPENED.set(())
    STDOUT.set(sys.stdout)
    first = rank() == 0  # of several processes the first one speaks, unless it is to say what is wrong
    progress.silence("--quiet" in tokens or not first)
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if "--debug" not in tokens:
        warnings.simplefilter("ignore")
    log, said = logging.getLogger("reclaim"), Spoken()
    said.setFormatter(InTheShellsWords())
    log.addHandler(said)
    log.setLevel((logging.WARNING if "--quiet" in tokens else logging.INFO) if first else logging.ERROR)
    with stopping() as signals:
        try:
            check_tokens(tokens)
            with redirect_stdout(sys.stderr):
                call = call_of(app, tokens)
            if is_ours(call):
                _check_alone(tokens[0])
            with reserved(), redirect_stdout(sys.stderr if is_ours(call) else sys.stdout), _shared(tokens):
                call()
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt as error:
            _stop("stopped.", error.code if isinstance(error, Stopped) else 130)
        except Exception as error:
            _end(error, signals, debug="--debug" in tokens)
        finally:
            log.removeHandler(said)


def _shared(tokens: Sequence[str]) -> AbstractContextManager[object]:
    """Of several processes those of a command on snapshots share the whole of it, on their CPUs."""
    return at_work() if tokens[:1] in (["evaluate"], ["calibrate"]) else nullcontext()


def _check_alone(command: str) -> None:
    """Raise if a launcher started several processes for a command that one of them does."""
    if started() > 1 and command not in SEVERAL:
        raise BadInput(
            f"`reclaim {command}` runs in one process, and a launcher started {started()}; these share their work: "
            f"{', '.join(SEVERAL)}.\n  Start it without the launcher."
        )


def _end(error: Exception, signals: Signals, *, debug: bool) -> None:
    """Say what is wrong, where it is no mistake of ours; a library that was stopped may say so in words of its own."""
    if signals.first is not None:
        _stop("stopped.", 128 + signals.first)
    if debug or not isinstance(error, BadInput | BadKind | OSError):
        raise error
    _stop(_message(error), 2)


def _message(error: Exception) -> str:
    if isinstance(error, BadInput):
        return error.said(flag_of)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _stop(message: str, code: int) -> None:
    say(f"reclaim: {message}" if rank() == 0 else f"reclaim, process {rank() + 1} of {started()}: {message}")
    raise SystemExit(code)
