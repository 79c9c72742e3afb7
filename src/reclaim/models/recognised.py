"""Which library wrote a model directory, told by the records that it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reclaim.core.errors import BadInput
from reclaim.core.records import read_json

__all__ = ["library_of", "recognised"]


def _of_timm(config: Mapping[str, Any]) -> bool:
    return "model_type" not in config and isinstance(config.get("architecture"), str)


def _of_transformers(config: Mapping[str, Any]) -> bool:
    return isinstance(config.get("model_type"), str)


def _of_open_clip(config: Mapping[str, Any]) -> bool:
    return "model_cfg" in config


def _of_peft(config: Mapping[str, Any]) -> bool:
    return True  # whatever is wrong with the record is said when it is read


RECORDS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("adapter_config.json", "peft", _of_peft),
    ("config.json", "timm", _of_timm),
    ("config.json", "transformers", _of_transformers),
    ("open_clip_config.json", "open-clip", _of_open_clip),
)
OTHERS = {  # what such a folder holds, and is no classifier
    "model_index.json": "a pipeline of diffusers, and no classifier",
    "modules.json": "a model of sentence-transformers, which answers vectors and no classes",
}


def recognised(folder: Path) -> str | None:
    """The library whose own directory this is; None if it is none of those that are known."""
    for file, library, fits in RECORDS:
        if (folder / file).is_file():
            config = read_json(folder / file)
            if isinstance(config, dict) and fits(config):
                return library
    return None


def library_of(folder: Path) -> str:
    """The library whose own directory this is.

    Raises: BadInput that says what was looked for, or what the folder is instead.
    """
    found = recognised(folder)
    if found is not None:
        return found
    for file, what in OTHERS.items():
        if (folder / file).is_file():
            raise BadInput(f"{folder} is {what}.")
    raise BadInput(
        f"{folder} is no model directory: there is no file {folder / 'reclaim.json'}, and no config.json of timm or "
        "transformers.\n  For a weights file say what it belongs to, for example timm/resnet18@weights.pth."
    )
