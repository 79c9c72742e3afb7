"""Long jobs that go on where they were stopped: until they are done, everything they have is in ``OUT.partial``.

``claim.json`` in that folder says whose job it is. It goes into the output with the folder and is removed there last,
so that a job that was killed at any moment is either unfinished or done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from reclaim.core import disk
from reclaim.core.errors import Argument, BadInput
from reclaim.core.files import discard, put_in_place, write_json
from reclaim.core.records import read_json

__all__ = ["claim", "finish", "finished", "partial_of"]

CLAIM, RECORD = "claim.json", "run.json"

Renamed = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def partial_of(out: Path) -> Path:
    """The folder of a job that is not done."""
    whole = out.absolute()
    return whole.with_name(f"{whole.name}.partial")


def finished(out: Path, what: Mapping[str, Any], renamed: Renamed = dict) -> bool:
    """Tidy up behind a job that was killed after it was done; whether it was `what`."""
    if not (out / CLAIM).is_file():
        return False
    same = _same(out / CLAIM, what, renamed)
    if not (partial_of(out) / CLAIM).is_file():
        discard(partial_of(out), out)  # what the output was before
    disk.remove(out / CLAIM)
    return same


def claim(
    out: Path, what: Mapping[str, Any], *, holds: Collection[str], force: bool = False, renamed: Renamed = dict
) -> Literal["new", "begun", "whole"]:
    """Make the folder of an unfinished job ours, or say that it is another's.

    Args:
        what: what makes it this job and no other.
        holds: the names that such a folder may hold.
        force: forget what was begun.
        renamed: brings a claim of an older version to today's names.

    Returns: whether it was begun before, and whether only its name is missing.

    Raises: BadInput if the folder is another job's, or of nobody's.
    """
    partial = partial_of(out)
    there = os.path.lexists(partial)
    if there and not (partial.is_dir() and {path.name for path in partial.iterdir()} <= {CLAIM, RECORD, *holds}):
        raise BadInput(f"{partial} is in the way, and no unfinished run of Reclaim; move it, or give another output.")
    if force:
        discard(partial, out)
    elif (partial / CLAIM).is_file():
        _check(partial, what, renamed)
        return "whole" if (partial / RECORD).is_file() else "begun"
    disk.make_folder(partial)
    write_json(partial / CLAIM, what)
    return "new"


def finish(out: Path, *litter: str) -> None:
    """Give a job that is done its name, without the folders of it that only unfinished ones need."""
    partial = partial_of(out)
    for name in litter:
        discard(partial / name, out)
    put_in_place(partial, out)
    disk.remove(out / CLAIM)


def _same(path: Path, what: Mapping[str, Any], renamed: Renamed) -> bool:
    found = read_json(path)
    return isinstance(found, dict) and dict(renamed(found)) == dict(what)


def _check(partial: Path, what: Mapping[str, Any], renamed: Renamed) -> None:
    if _same(partial / CLAIM, what, renamed):
        return
    record = read_json(partial / CLAIM)
    found = renamed(record) if isinstance(record, dict) else {}
    other = [f"{key} was {found.get(key)!r}, is {value!r}" for key, value in what.items() if found.get(key) != value]
    raise BadInput(
        f"{partial} holds an unfinished run of another command ({'; '.join(other)}).",
        Argument("force", "repeat that command to finish it, or start anew", True),
    )
