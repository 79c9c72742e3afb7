"""Lets every process of an environment import torchvision, whoever asks first: ``python -m tests.finder``.

This file is copied into the environment, where one line of a ``.pth`` file has Python import it at the start of each
process. It belongs to an environment of developers, in which other libraries start processes of their own; the package
repairs at its own door only (`reclaim.core.extras`). Every process pays for what is imported here, so nothing is.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder

NAME = "reclaim_torchvision"


class Finder:
    """Looks for nothing itself: before torchvision is found by others, what it lacks is defined."""

    kept: object = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "torchvision" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name)
        if spec is not None and spec.origin is not None:
            try:
                from pathlib import Path

                from reclaim.core.operators import define_missing
            except ImportError:  # an environment that the package has left
                return None
            Finder.kept = define_missing(Path(spec.origin).parent)
        return None


def write(place: str) -> None:
    """Write the finder and the line that starts it into a folder of packages."""
    from pathlib import Path

    folder = Path(place)
    (folder / f"{NAME}.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / f"{NAME}.pth").write_text(f"import {NAME}\n", encoding="utf-8")


if __name__ == NAME:
    sys.meta_path.insert(0, Finder())

if __name__ == "__main__":
    import sysconfig

    write(sysconfig.get_paths()["purelib"])
