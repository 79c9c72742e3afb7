"""Where a command reads and writes: settled before any work, so that a wrong place costs one message and no time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from reclaim.core.errors import BadInput
from reclaim.core.kinds import check_suffix
from reclaim.core.workspace import reserve

__all__ = ["check_tokens", "take"]

Place = str | Path | None
LONGEST = ".tensors.safetensors"  # what the name of a file that goes with an output adds to its


def check_tokens(tokens: Iterable[str]) -> None:
    """Raise for what is no name of anything: nothing at all, NUL, and bytes that are no text."""
    before = ""
    for token in tokens:
        flag, equals, value = token.partition("=") if token.startswith("--") else ("", "", token)
        if (equals or not flag) and not value:
            raise BadInput(f"{flag or before or 'an argument'} is empty: nothing was given where something is needed.")
        if "\0" in token:
            raise BadInput(f"an argument holds a NUL, which no name can: {token!r}.")
        if any("\ud800" <= letter <= "\udfff" for letter in token):
            raise BadInput(f"an argument holds bytes that are not UTF-8: {token}. Give the file another name.")
        before = token if token.startswith("--") else ""


def take(
    out: Path,
    *others: Path,
    folder: bool,
    force: bool,
    reads: Iterable[Place] = (),
    data: Iterable[Place] = (),
    suffixes: tuple[str, ...] = (),
) -> None:
    """Take an output for this command alone, and refuse one that exists, or that would damage what the command reads.

    Args:
        others: further files that go with it.
        folder: whether the output is one.
        force: replace what exists.
        reads: the models, snapshots and calibrators that the command reads; a model may stand behind an "@".
        data: data that it reads: nothing is written inside their folder.
        suffixes: of a file that is written: those that say what it will hold; one that says something else is refused.

    Raises: BadInput, too, if another command is writing the same output.
    """
    from reclaim.core.files import check_free

    target, here = out.parent.resolve() / out.name, Path.cwd().resolve()
    if out.name in ("", "..") or target in (here, *here.parents):
        raise BadInput(f"{out} is or holds the folder that the command runs in; give another output.")
    with suppress(FileNotFoundError):
        target.with_name(f"{target.name}{LONGEST}").lstat()  # or the system's own error, before the work
    for place in _paths(reads):
        _check_apart(out, target, place, inside=folder and place.is_dir())
        if not folder and place.is_dir() and target.parent == place and target.exists():
            raise BadInput(f"{out} is a part of {place}, which the command reads; give another output.")
    for place in _paths(data):
        _check_apart(out, target, place, inside=place.is_dir())
    if suffixes:
        check_suffix(out, *suffixes)
    reserve(target)
    for path in (out, *others):
        check_free(path, force=force, folder=folder)


def _paths(places: Iterable[Place]) -> list[Path]:
    """Those of the places that are there, behind an "@" too, or in a list joined by commas."""
    names = [str(place) for place in places if place is not None]
    parts = [part for name in names for part in (name, name.partition("@")[2], *name.split(",")) if part]
    return [Path(part).resolve() for part in dict.fromkeys(parts) if _is_there(part)]


def _is_there(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # a list is too long for a name
        return False


def _check_apart(out: Path, target: Path, place: Path, *, inside: bool) -> None:
    if target == place or target.resolve() == place:
        raise BadInput(f"{out} is what the command reads; give another output.")
    if target in place.parents:
        raise BadInput(f"{out} holds {place}, which the command reads; give another output.")
    if inside and place in target.parents:
        raise BadInput(f"{out} lies inside {place}, which the command reads; give another output.")
