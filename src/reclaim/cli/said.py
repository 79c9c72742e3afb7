"""What is neither asked for nor an error, such as what is guessed: a line on standard error, in the shell's words."""

import logging
import re
import sys

from reclaim.cli.naming import flag_of
from reclaim.core.errors import Argument

__all__ = ["InTheShellsWords", "say"]


def say(line: str) -> None:
    """A line on standard error, with the program's name in front."""
    sys.stderr.write(f"reclaim: {line}\n")


class InTheShellsWords(logging.Formatter):
    """What the library says while it works, with the program's name in front and arguments called by their flags."""

    def format(self, record: logging.LogRecord) -> str:
        return "reclaim: " + re.sub(r"the argument `(\w+)`", _flag, super().format(record))


def _flag(found: re.Match[str]) -> str:
    return flag_of(Argument(found[1]))
