"""The program: the verb is the family, the next word the method, flags are keyword arguments.

Commands are named as text and imported when they run, so that ``--help`` imports no torch.
"""

import os
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, Parameter

import reclaim
from reclaim.cli.naming import flag_of
from reclaim.core.errors import BadInput, BadKind

__all__ = ["app", "main"]

app = App(
    name="reclaim",
    help="Fine-tune without losing what your model knew: diagnose what fine-tuning damaged, and repair it.",
    version=reclaim.__version__,
    help_format="markdown",
    default_parameter=Parameter(negative=()),  # no --no-json for every --json
)

COMMANDS = {
    "demo": "The whole story on embedded data in under a minute: pretrain, fine-tune, diagnose, repair, report.",
    "repair": "Repair a fine-tuned model: mix the weights, choose the offset, fold it in, report.",
    "tune": "Fine-tune by a recipe; resumable.",
    "predict": "Run a model over a split and keep its answers as a snapshot.",
    "evaluate": "Accuracy per group, trade-off and confidence of a snapshot.",
    "calibrate": "Fit a calibrator on a snapshot.",
    "apply": "Fold a calibrator into a model, or apply it to a snapshot.",
    "merge": "Merge models in weight space.",
    "diagnose": "Say what fine-tuning damaged, from two snapshots.",
    "report": "The page, from two snapshots.",
    "export": "Write a model and its calibrator as one file for serving.",
    "paper": "A published table or figure, rerun: our rows beside the printed ones.",
    "list": "What there is, one line each, with its source.",
}
for _name, _help in COMMANDS.items():
    app.command(f"reclaim.cli.commands.{_name}:command", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command: exit code 0 done, 2 a wrong call or bad input, with one message and no traceback."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" not in tokens:
        warnings.simplefilter("ignore")
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


def _message(error: Exception) -> str:
    if isinstance(error, BadInput):
        return error.said(flag_of)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _stop(message: str, code: int) -> None:
    sys.stderr.write(f"reclaim: {message}\n")
    raise SystemExit(code)
