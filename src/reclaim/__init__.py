"""Fine-tune without losing what your model knew.

The public names are listed in ``__init__.pyi`` beside this file, which editors and type checkers read. Each is imported
when it is first used, so that start-up is instant.
"""

import re
from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"

_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_PLACES = {name: module for module, name in re.findall(r"^from (\S+) import \(?\s*(\w+) as", _STUB, re.MULTILINE)}
__all__ = list(_PLACES)


def __getattr__(name: str) -> object:
    """A public name, imported from the file that holds it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
