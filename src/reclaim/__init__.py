"""Fine-tune without losing what your model knew.

The public names are listed in ``__init__.pyi`` beside this file, which editors and type checkers read. Each is imported
when it is first used, so that start-up is instant.

Nothing is imported here at first, not even of Python's own: ``python -m reclaim`` searches the working directory first
until `reclaim.__main__` leaves it out.
"""

__version__ = "0.1.0"

_PLACES: dict[str, str] = {}


def _places() -> dict[str, str]:
    """The module that holds each public name."""
    if not _PLACES:
        import re
        from pathlib import Path

        stub = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
        found = re.findall(r"^from (\S+) import \(?\s*(\w+) as", stub, re.MULTILINE)
        _PLACES.update({name: module for module, name in found})
    return _PLACES


def __getattr__(name: str) -> object:
    """A public name, imported from the file that holds it; or the list of them all."""
    places = _places() if not name.startswith("__") or name == "__all__" else {}
    if name == "__all__":
        return list(places)
    if name not in places:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(places[name]), name)


def __dir__() -> list[str]:
    return sorted([*_places(), "__version__"])
