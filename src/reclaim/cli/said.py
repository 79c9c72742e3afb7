"""What the library says while it works, such as what it guesses, in the words of the shell."""

import logging
import re
import sys

from reclaim.cli.naming import flag_of
from reclaim.core.errors import Argument

__all__ = ["say_on_stderr"]


class _OnStandardError(logging.Handler):
    """A line on standard error, as it is when the line is said; arguments are called by their flags."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(re.sub(r"the argument `(\w+)`", _flag, record.getMessage()) + "\n")


def _flag(found: re.Match[str]) -> str:
    return flag_of(Argument(found[1]))


def say_on_stderr() -> None:
    """Say from now on what the library warns of; once, however often this is asked."""
    logger = logging.getLogger("reclaim")
    if not any(isinstance(handler, _OnStandardError) for handler in logger.handlers):
        logger.addHandler(_OnStandardError(logging.WARNING))
