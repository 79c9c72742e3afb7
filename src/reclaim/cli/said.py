"""What the library says while it works, such as what it guesses, in the words of the shell."""

import logging
import re

from reclaim.cli.naming import flag_of
from reclaim.core.errors import Argument

__all__ = ["InTheShellsWords"]


class InTheShellsWords(logging.Formatter):
    """What is logged, with arguments called by their flags."""

    def format(self, record: logging.LogRecord) -> str:
        return re.sub(r"the argument `(\w+)`", _flag, super().format(record))


def _flag(found: re.Match[str]) -> str:
    return flag_of(Argument(found[1]))
