"""What the shell calls an argument of the library: ``image_size`` is ``--image-size``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from reclaim.core.errors import Argument, BadInput

__all__ = ["OTHERS", "called", "flag_of", "named"]

OTHERS = {
    "learning_rate": ("--lr",),
    "batch_size": ("--bs", "--batch"),
    "weight_decay": ("--wd",),
    "epochs": ("--num-epochs", "--num-train-epochs", "-e"),
    "steps": ("--max-steps",),
    "accumulate": ("--gradient-accumulation-steps", "--grad-accum"),
    "optimizer": ("--opt", "--optim"),
    "workers": ("--num-workers", "-j"),
    "precision": ("--mixed-precision", "--amp"),
    "out": ("--output", "--output-dir", "--out-dir", "-o"),
    "data": ("--dataset", "--data-dir", "--data-path"),
    "model": ("--model-name", "-m"),
    "image_size": ("--img-size", "--input-size"),
    "classes": ("--class-names", "--labels"),
    "seed": ("--random-state",),
    "force": ("--overwrite", "-f"),
    "result": ("--as",),
    "quiet": ("-q",),
}  # what other programs of the field call the same

TAKES = {
    "image_size": "PIXELS",
    "classes": "FILE, one name per line",
    "before_classes": "FILE, one name per line",
    "after_classes": "FILE, one name per line",
    "initial": "DIR",
}  # what such a flag is given, as the advice shows it


FILES = ("logits",)  # what the shell is given in a file, and has no flag for


def named(argument: str) -> str:
    """The flag of an argument."""
    return f"--{argument.replace('_', '-')}"


def flag_of(argument: Argument) -> str:
    """The flag that an error advises, with what it is given; empty where there is none."""
    if argument.name in FILES:
        return ""
    value = TAKES.get(argument.name, "") if argument.value in (None, True) else argument.value
    return f"{named(argument.name)} {value}".rstrip()


@contextmanager
def called(**flags: tuple[str, ...]) -> Iterator[None]:
    """Errors of the block advise these flags of the command instead of arguments of the functions it calls."""
    try:
        yield
    except BadInput as error:
        raise BadInput(error.what, *(own for a in error.do for own in _instead(a, flags.get(a.name)))) from error


def _instead(argument: Argument, flags: tuple[str, ...] | None) -> list[Argument]:
    names = (argument.name,) if flags is None else flags
    return [replace(argument, name=name, advice="" if i else argument.advice) for i, name in enumerate(names)]
