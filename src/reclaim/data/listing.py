"""Looking through folders: each is read once, and what is no example is left out with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reclaim.core.errors import BadInput
from reclaim.core.terminal import printable
from reclaim.data.inputs.decoding import SUFFIXES, is_image, suffix_of
from reclaim.data.report import LeftOut

__all__ = ["Folder", "Listing"]

# what other programs leave in folders, in small letters
_FOREIGN = {"__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information"}
_FOREIGN |= {"lost+found", "__pycache__", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
_HALF = ("~", ".bak", ".tmp", ".part", ".crdownload", ".orig", ".swp")  # of an editor, or of a download


@dataclass(frozen=True)
class Folder:
    """What one folder holds: the names of folders and of images in it, both in alphabetical order."""

    folders: tuple[str, ...]
    images: tuple[str, ...]


class Listing:
    """The folders below a root, and what was left out of them.

    Symbolic links are followed, wherever they lead, where a folder is a split or a class, and to files; a link to a
    folder inside a class is left out. Pipes, sockets and devices are never opened.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.linked = self.by_content = 0
        self.links: set[str] = set()  # folders that are links
        self._left: dict[str, list[str]] = {}
        self._looked: dict[str, Folder] = {}

    def look(self, folder: str) -> Folder:
        """What a folder holds. It is read once, however often this is asked.

        Raises: BadInput if it cannot be read.
        """
        if folder not in self._looked:
            folders: list[str] = []
            images: list[str] = []
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        self._sort(entry, f"{folder}/{entry.name}", folders, images)
            except OSError as error:
                raise BadInput(f"the folder {printable(folder)} cannot be read: {error.strerror}.") from error
            self._looked[folder] = Folder(tuple(sorted(folders)), tuple(sorted(images)))
        return self._looked[folder]

    def images(self, top: str) -> list[str]:
        """Images at any depth below a folder, those of a folder in alphabetical order of their parts."""
        found: list[tuple[str, ...]] = []
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            here = "/".join((top, *parts))
            inside = self.look(here)
            found += [(*parts, name) for name in inside.images]
            for name in inside.folders:
                if f"{here}/{name}" in self.links:
                    self.leave("links to folders inside a class", f"{here}/{name}")
                else:
                    waiting.append((*parts, name))
        return ["/".join((top, *parts)) for parts in sorted(found)]

    def leave(self, why: str, *paths: str) -> None:
        """Leave files or folders out."""
        if paths:
            self._left.setdefault(why, []).extend(paths)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was left out until now, by reason."""
        return tuple(LeftOut.of(why, self.named(paths)) for why, paths in sorted(self._left.items()))

    def named(self, paths: Iterable[str]) -> list[str]:
        """Paths relative to the root."""
        return [path.removeprefix(f"{self.root}/") for path in paths]

    def _sort(self, entry: os.DirEntry[str], path: str, folders: list[str], images: list[str]) -> None:
        """Put what lies in a folder where it belongs."""
        name, link = entry.name, entry.is_symlink()
        if name.startswith("."):
            self.leave("hidden", path)
        elif name.casefold() in _FOREIGN or name.lower().endswith(_HALF):
            self.leave("of other programs", path)
        elif link and not _leads_somewhere(path):
            self.leave("broken links", path)
        elif entry.is_dir():
            folders.append(name)
            self.links |= {path} if link else set()
        elif not entry.is_file():
            self.leave("special files, which are never opened", path)
        else:
            self._sort_file(entry.name, path, images, link)

    def _sort_file(self, name: str, path: str, images: list[str], link: bool) -> None:
        suffix = suffix_of(name)
        try:
            by_content = suffix not in SUFFIXES and is_image(path)
        except PermissionError:
            self.leave("that may not be read", path)
            return
        if by_content or suffix in SUFFIXES:
            images.append(name)
            self.by_content += by_content
            self.linked += link
        else:
            self.leave(f"with the suffix {suffix}" if suffix else "without a suffix", path)


def _leads_somewhere(link: str) -> bool:
    try:
        Path(link).stat()
    except OSError:  # also where links go round in a circle
        return False
    return True
