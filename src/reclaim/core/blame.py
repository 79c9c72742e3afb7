"""Where in a user's own file an error arose: what Reclaim calls there is not its code, nor a library's."""

from __future__ import annotations

import site
import sys
import sysconfig
import traceback
from pathlib import Path

__all__ = ["blamed"]


def blamed(error: BaseException) -> str:
    """The error's text, and the innermost line of the user's own code that it came through; empty without such a line.

    An own file is one that belongs neither to Reclaim nor to Python and what is installed for it.
    """
    if isinstance(error, SyntaxError) and error.filename and _is_own(error.filename):
        return f"{_text(error)}\n  {error.filename}, line {error.lineno}: {(error.text or '').strip()}"
    own = [one for one in traceback.extract_tb(error.__traceback__) if _is_own(one.filename)]
    if not own:
        return ""
    return f"{_text(error)}\n  {own[-1].filename}, line {own[-1].lineno}: {own[-1].line}"


def _text(error: BaseException) -> str:
    """Kind and first line of an error; of a `SyntaxError` without the place, which is said otherwise."""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return ": ".join(filter(None, [type(error).__name__, *said.strip().splitlines()[:1]]))


def _is_own(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    return not any(path.is_relative_to(place) for place in _places())


def _places() -> set[Path]:
    """Where code lies that is not the user's."""
    installed = (*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages())
    kept = {Path(__file__).parent.parent, *map(Path, installed)}
    return {place.resolve() for place in kept} - {Path(sys.prefix).resolve()}  # which may hold a user's folder
